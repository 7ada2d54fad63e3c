package order_test

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// code is the refusal in err, "" for none.
func code(err error) order.Code {
	var refused *order.Error
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

var noon = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// shelf sells units of sku at a price of 10 cents and the last digit of its name.
func shelf(sku string, units, limit int64) *order.Shelf {
	price := order.Cents(10 + sku[len(sku)-1] - '0')
	return &order.Shelf{Remaining: units, CatalogueItem: order.CatalogueItem{
		SkuID: sku, UnitPriceCents: price, Currency: "EUR", Version: 1, PerCustomerLimit: limit,
	}}
}

// ledger is what a shop with no rules but arithmetic would note: a line in a book for every sale.
type ledger struct {
	stock, limit map[string]int64
	sales        []sale
	keys         map[string]int // user and key → the draft that bound it
}

type sale struct {
	user, sku string
	units     int64
}

// sold adds up the book.
func (l *ledger) sold(sku, user string) (units int64) {
	for _, s := range l.sales {
		if s.sku == sku && (user == "" || s.user == user) {
			units += s.units
		}
	}
	return units
}

// wanted is how many units of sku a draft wants in all its lines.
func wanted(d order.Draft, sku string) (units int64) {
	for _, l := range d.Lines {
		if l.SkuID == sku {
			units += l.Quantity
		}
	}
	return units
}

// sell says which refusal the draft gets, "" for none, and books it.
func (l *ledger) sell(d order.Draft) order.Code {
	var over, short bool
	for _, line := range d.Lines {
		sku := line.SkuID
		if _, listed := l.stock[sku]; !listed {
			return order.UnknownItem
		}
		over = over || l.limit[sku] > 0 && l.sold(sku, d.UserID)+wanted(d, sku) > l.limit[sku]
		short = short || l.sold(sku, "")+wanted(d, sku) > l.stock[sku]
	}
	switch {
	case over:
		return order.LimitReached
	case short:
		return order.SoldOut
	}
	for _, line := range d.Lines {
		l.sales = append(l.sales, sale{d.UserID, line.SkuID, line.Quantity})
	}
	return ""
}

func TestDecide(t *testing.T) {
	t.Parallel()

	t.Run("AgreesWithArithmetic", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			book := &ledger{stock: map[string]int64{}, limit: map[string]int64{}, keys: map[string]int{}}
			state := order.State{Now: noon, Shelves: map[string]*order.Shelf{}, Keys: map[order.Claim]order.Known{}, Held: map[order.Holder]int64{}}
			for i := range rapid.IntRange(1, 4).Draw(t, "skus") {
				sku := fmt.Sprint("s", i)
				book.stock[sku] = rapid.Int64Range(0, 12).Draw(t, "stock")
				book.limit[sku] = rapid.Int64Range(0, 6).Draw(t, "limit")
				state.Shelves[sku] = shelf(sku, book.stock[sku], book.limit[sku])
			}
			drafts := rapid.SliceOfN(rapid.Custom(drawDraft), 1, 20).Draw(t, "drafts")
			for i := range drafts {
				drafts[i].ID = fmt.Sprint("o", i)
				drafts[i].Fingerprint = drafts[i].Print()
			}
			verdicts := order.Decide(state, drafts)
			for i := range drafts {
				compare(t, book, drafts, i, verdicts)
			}
			for sku, shelf := range state.Shelves {
				if left := book.stock[sku] - book.sold(sku, ""); shelf.Remaining != left || left < 0 {
					t.Fatalf("%s: %d remain, arithmetic says %d", sku, shelf.Remaining, left)
				}
			}
		})
	})

	t.Run("NothingIsSoldByTheOrderOfLines", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			d := drawDraft(t)
			turned := d
			turned.Lines = rapid.Permutation(d.Lines).Draw(t, "lines")
			if d.Print() != turned.Print() {
				t.Fatalf("%v and %v have different fingerprints", d.Lines, turned.Lines)
			}
			a, b := order.Decide(full(), []order.Draft{d}), order.Decide(full(), []order.Draft{turned})
			if !reflect.DeepEqual(a[0].Order, b[0].Order) {
				t.Fatalf("%+v and %+v", a, b)
			}
		})
	})

	t.Run("RefusesWhatNobodyChecked", func(t *testing.T) {
		t.Parallel()
		state := full()
		for _, lines := range [][]order.Line{nil, {{SkuID: "s0", Quantity: -5}}, {{SkuID: "s0"}}} {
			if v := order.Decide(state, []order.Draft{{Lines: lines}})[0]; code(v.Err) != order.InvalidRequest {
				t.Errorf("%v: %+v", lines, v)
			}
		}
	})

	t.Run("RefusesWhatCannotBePriced", func(t *testing.T) {
		t.Parallel()
		state := full()
		state.Shelves["s0"].UnitPriceCents = 1 << 61
		v := order.Decide(state, []order.Draft{{Lines: []order.Line{{SkuID: "s0", Quantity: 5}}}})[0]
		if code(v.Err) != order.InvalidRequest || state.Shelves["s0"].Remaining != 1000 {
			t.Errorf("verdict %+v, %d remain", v, state.Shelves["s0"].Remaining)
		}
	})
}

func drawDraft(t *rapid.T) order.Draft {
	line := rapid.Custom(func(t *rapid.T) order.Line {
		return order.Line{SkuID: fmt.Sprint("s", rapid.IntRange(0, 4).Draw(t, "sku")), Quantity: rapid.Int64Range(1, 4).Draw(t, "quantity")}
	})
	return order.Draft{
		UserID:  rapid.SampledFrom([]string{"ann", "bob", "cid"}).Draw(t, "user"),
		Key:     rapid.SampledFrom([]string{"", "", "k1", "k2"}).Draw(t, "key"),
		Lines:   rapid.SliceOfN(line, 1, 4).Draw(t, "lines"),
		Payment: order.Deferred, Window: time.Minute,
	}
}

func full() order.State {
	state := order.State{Now: noon, Shelves: map[string]*order.Shelf{}, Keys: map[order.Claim]order.Known{}, Held: map[order.Holder]int64{}}
	for i := range 5 {
		state.Shelves[fmt.Sprint("s", i)] = shelf(fmt.Sprint("s", i), 1000, 0)
	}
	return state
}

// compare holds verdict i against what the ledger says.
func compare(t *rapid.T, book *ledger, drafts []order.Draft, i int, verdicts []order.Verdict) {
	d, v := drafts[i], verdicts[i]
	claim := d.UserID + " " + d.Key
	if first, bound := book.keys[claim]; bound && d.Key != "" {
		if same := drafts[first].Print() == d.Print(); !same && code(v.Err) != order.KeyReused ||
			same && (!v.Replayed || v.Order.ID != drafts[first].ID) {
			t.Fatalf("draft %d repeats the key of %d: %+v", i, first, v)
		}
		return
	}
	want := book.sell(d)
	if code(v.Err) != want || v.Replayed {
		t.Fatalf("draft %d %v: %v, arithmetic says %q", i, d.Lines, v.Err, want)
	}
	if want == order.SoldOut {
		for sku, left := range v.Err.(*order.Error).Left { //nolint:errorlint,forcetypeassert // code has looked
			if is := book.stock[sku] - book.sold(sku, ""); left != is || left >= wanted(d, sku) {
				t.Fatalf("draft %d: %d left of %s, arithmetic says %d", i, left, sku, is)
			}
		}
	}
	if want != "" {
		return
	}
	if d.Key != "" {
		book.keys[claim] = i
	}
	var total order.Cents
	for _, l := range d.Lines {
		total += order.Cents(l.Quantity) * order.Cents(10+l.SkuID[1]-'0')
	}
	units := map[string]int64{}
	for _, l := range d.Lines {
		units[l.SkuID] += l.Quantity
	}
	if v.Order.TotalCents != total || !maps.Equal(v.Order.Units(), units) || !v.Order.ExpiresAt.Equal(noon.Add(time.Minute)) {
		t.Fatalf("draft %d became %+v, arithmetic says %d cents for %v", i, v.Order, total, units)
	}
}
