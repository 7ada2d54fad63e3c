package order_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

func TestAllotment(t *testing.T) {
	t.Parallel()

	t.Run("OnlyTheSumOfWhatCameAndWentDecides", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			steps := rapid.SliceOf(rapid.Int64Range(-9, 9)).Draw(t, "steps") // below 0 revoke, even grant, odd return
			var one, other order.Allotment
			var sum int64
			for _, n := range steps {
				step(&one, n)
				sum += n
			}
			for _, n := range rapid.Permutation(steps).Draw(t, "turned") {
				step(&other, n)
			}
			if one != other || one.Remaining-one.Owed != sum || min(one.Remaining, one.Owed) != 0 {
				t.Fatalf("%+v and %+v, the sum is %d", one, other, sum)
			}
		})
	})
}

func step(a *order.Allotment, n int64) {
	switch {
	case n < 0:
		a.Revoke(-n)
	case n%2 == 0:
		a.Grant(n)
	default:
		a.Return(n)
	}
}

func TestMoves(t *testing.T) {
	t.Parallel()

	t.Run("OnlyTheTableIsLegal", func(t *testing.T) {
		t.Parallel()
		legal := map[order.Status]string{
			order.Created: "confirmed paid cancelled", order.Confirmed: "paid cancelled", order.Paid: "shipped refunded",
			order.Shipped: "delivered refunded", order.Delivered: "refunded",
		}
		for _, from := range order.Statuses() {
			for _, to := range order.Statuses() {
				o := order.Order{Status: from, Version: 7}
				c, err := o.Move(to, noon, "ann", "why")
				want := slices.Contains(strings.Fields(legal[from]), string(to))
				if (err == nil) != want {
					t.Errorf("%s to %s: %v", from, to, err)
				}
				if want && (o.Status != to || o.Version != 8 || c.From != from || c.Order.Version != 8 || !o.UpdatedAt.Equal(noon)) {
					t.Errorf("%s to %s left %+v", from, to, o)
				}
				if !want && (o.Status != from || o.Version != 7 || code(err) != order.IllegalMove) {
					t.Errorf("refused %s to %s with %v, but left %+v", from, to, err, o)
				}
				if ended := o.Status.Ended(); ended != (legal[o.Status] == "") || ended && want && o.Reason != "why" {
					t.Errorf("%s: ended %v, reason %q", o.Status, ended, o.Reason)
				}
			}
		}
	})

	t.Run("FactsImplyLegalMovesOnly", func(t *testing.T) {
		t.Parallel()
		for _, from := range order.Statuses() {
			for _, kind := range []order.Kind{order.UnitsBooked, order.GoodsShipped, order.GoodsDelivered, order.Noted} {
				for _, held := range []string{"", "p"} {
					o := order.Order{Status: from}
					early := from == order.Created || from == order.Confirmed
					for _, to := range o.Follows(kind, held) {
						_, err := o.Move(to, noon, "", "")
						if wrong := early && kind != order.UnitsBooked; (err != nil) != wrong {
							t.Errorf("%s of a %s order: %v", kind, from, err)
						}
						if err != nil {
							break
						}
					}
				}
			}
		}
	})
}

func TestCheck(t *testing.T) {
	t.Parallel()
	good := func() order.Draft {
		return order.Draft{UserID: "ann", Payment: order.Deferred, Lines: []order.Line{{SkuID: "tea", Quantity: 1}}}
	}
	if err := good().Check(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*order.Draft){
		"items":             func(d *order.Draft) { d.Lines = nil },
		"items[0].skuId":    func(d *order.Draft) { d.Lines[0].SkuID = "a\x00b" },
		"items[0].quantity": func(d *order.Draft) { d.Lines[0].Quantity = 1001 },
		"payment":           func(d *order.Draft) { d.Payment = "later" },
		"userId":            func(d *order.Draft) { d.UserID = "\xff" },
		"reference":         func(d *order.Draft) { d.Reference = strings.Repeat("é", 101) },
		"metadata":          func(d *order.Draft) { d.Metadata = map[string]string{"k": strings.Repeat("v", 1024)} },
	} {
		d := good()
		spoil(&d)
		if err := d.Check(); code(err) != order.InvalidRequest || err.(*order.Error).Fields[0].Field != field { //nolint:errorlint,forcetypeassert // code has looked
			t.Errorf("%s: %v", field, err)
		}
	}
	long := good()
	long.Lines = slices.Repeat(long.Lines, 51)
	if code(long.Check()) != order.InvalidRequest {
		t.Error("51 lines were taken")
	}
}

func ExampleOrder_Move() {
	o := order.Order{ID: "o-1", Status: order.Paid, Version: 2}
	_, err := o.Move(order.Shipped, noon, "logistics", "")
	fmt.Println(err, o.Status, o.Version)
	_, err = o.Move(order.Paid, noon, "ann", "")
	fmt.Println(err)
	// Output:
	// <nil> shipped 3
	// illegal-move: the order is shipped and cannot become paid
}
