package stock_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/floodgate-dev/floodgate/services/inventory/internal/stock"
)

func ExampleState_Hear() {
	fmt.Println(stock.None.Hear(stock.Left))
	fmt.Println(stock.Released.Hear(stock.Ordered))
	// Output:
	// [{ booked} {booked shipped}]
	// []
}

func (r recount) check(t *rapid.T, l stock.Levels) {
	t.Helper()
	if l.OnHand != l.Ungranted+l.GrantedUnsold+l.Booked {
		t.Fatalf("units are lost or made: %+v", l)
	}
	if l.OnHand != r.came-r.went-r.shipped || l.Booked != r.booked || l.Granted != r.came || l.Revoked != r.went {
		t.Fatalf("levels %+v, recounted %+v", l, r)
	}
}

// recount is the model: plain sums of what came, went, is booked and left.
type recount struct{ came, went, booked, shipped stock.Units }

func TestNoUnitIsLostOrMade(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var levels stock.Levels
		var model recount
		states, units := map[string]stock.State{}, map[string]stock.Units{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "change") {
				n := stock.Units(rapid.Int64Range(-20, 20).Draw(t, "units"))
				effect, err := levels.Change(n)
				if refused := errors.Is(err, stock.ErrTooFew); refused != (n < 0 && -n > levels.OnHand) {
					t.Fatalf("%+d of %d: %v", n, levels.OnHand, err)
				}
				if err == nil {
					levels = levels.Plus(effect)
					model.came, model.went = model.came+max(n, 0), model.went+max(-n, 0)
				}
				model.check(t, levels)
				continue
			}
			order := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "order")
			if states[order] == stock.None {
				units[order] = stock.Units(rapid.Int64Range(1, 9).Draw(t, "bought"))
			}
			news := rapid.SampledFrom([]stock.News{stock.Ordered, stock.Ended, stock.Left}).Draw(t, "news")
			for _, step := range states[order].Hear(news) {
				levels, states[order] = levels.Plus(step.Effect(units[order])), step.To
			}
			model.booked, model.shipped = 0, 0
			for order, state := range states {
				switch state {
				case stock.Booked:
					model.booked += units[order]
				case stock.Shipped:
					model.shipped += units[order]
				}
			}
			model.check(t, levels)
		}
	})
}

func TestLinesAreSummedUpAndSorted(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var lines []stock.Line
		want := map[string]stock.Units{}
		for range rapid.IntRange(1, 20).Draw(t, "lines") {
			l := stock.Line{SKU: rapid.SampledFrom([]string{"tea", "mug", "vase"}).Draw(t, "sku"), Units: stock.Units(rapid.IntRange(1, 9).Draw(t, "units"))}
			lines = append(lines, l)
			want[l.SKU] += l.Units
		}
		got, err := stock.Lines(lines)
		if err != nil || len(got) != len(want) || !slices.IsSortedFunc(got, func(a, b stock.Line) int { return strings.Compare(a.SKU, b.SKU) }) {
			t.Fatalf("lines %v, %v", got, err)
		}
		for _, l := range got {
			if want[l.SKU] != l.Units {
				t.Fatalf("%d of %s, want %d", l.Units, l.SKU, want[l.SKU])
			}
		}
	})
}

func TestLinesThatCannotBeBookedAreRefused(t *testing.T) {
	t.Parallel()
	for _, bad := range [][]stock.Line{nil, {{SKU: "", Units: 1}}, {{SKU: "a\x00", Units: 1}}, {{SKU: "a", Units: 0}}, {{SKU: "a", Units: math.MaxInt64}}} {
		if _, err := stock.Lines(bad); err == nil {
			t.Errorf("%v passes", bad)
		}
	}
}

func TestRequestsNameTheFieldAtFault(t *testing.T) {
	t.Parallel()
	tea := stock.Item{SKU: "tea", Name: "Tea", UnitPrice: 450, Currency: "EUR", PerCustomerLimit: 2}
	change := stock.Change{SKU: "tea", Request: "r-1", Units: 5, Reason: "delivery", By: "operator:ann"}
	if err := errors.Join(tea.Check(), change.Check()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		err   error
		field string
	}{
		"NoSKU":         {with(tea, func(i *stock.Item) { i.SKU = "" }).Check(), "sku_id"},
		"SlashInSKU":    {with(tea, func(i *stock.Item) { i.SKU = "a/b" }).Check(), "sku_id"},
		"BraceInSKU":    {with(tea, func(i *stock.Item) { i.SKU = "a{b}" }).Check(), "sku_id"},
		"LongSKU":       {with(tea, func(i *stock.Item) { i.SKU = strings.Repeat("a", 65) }).Check(), "sku_id"},
		"NoName":        {with(tea, func(i *stock.Item) { i.Name = " " }).Check(), "name"},
		"LongName":      {with(tea, func(i *stock.Item) { i.Name = strings.Repeat("ä", 201) }).Check(), "name"},
		"NULInName":     {with(tea, func(i *stock.Item) { i.Name = "a\x00" }).Check(), "name"},
		"NegativePrice": {with(tea, func(i *stock.Item) { i.UnitPrice = -1 }).Check(), "unit_price_cents"},
		"Currency":      {with(tea, func(i *stock.Item) { i.Currency = "eur" }).Check(), "currency"},
		"NegativeLimit": {with(tea, func(i *stock.Item) { i.PerCustomerLimit = -1 }).Check(), "per_customer_limit"},
		"NoUnits":       {with(change, func(c *stock.Change) { c.Units = 0 }).Check(), "units_delta"},
		"TooManyUnits":  {with(change, func(c *stock.Change) { c.Units = math.MinInt64 }).Check(), "units_delta"},
		"NoRequest":     {with(change, func(c *stock.Change) { c.Request = "" }).Check(), "request_id"},
		"LongRequest":   {with(change, func(c *stock.Change) { c.Request = strings.Repeat("r", 256) }).Check(), "request_id"},
		"LongReason":    {with(change, func(c *stock.Change) { c.Reason = strings.Repeat("r", 501) }).Check(), "reason"},
		"LongBy":        {with(change, func(c *stock.Change) { c.By = strings.Repeat("b", 256) }).Check(), "by"},
	} {
		var bad *stock.Invalid
		if !errors.As(c.err, &bad) || bad.Field != c.field {
			t.Errorf("%s: %v, want a complaint about %s", name, c.err, c.field)
		}
	}
}

func with[T any](v T, change func(*T)) T {
	change(&v)
	return v
}
