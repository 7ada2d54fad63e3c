package store_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

func TestStock(t *testing.T) {
	t.Parallel()

	t.Run("GrantsRevokesAndReturnsCommute", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			turns := permutations([]string{"grant", "revoke", "cancel", "regrant"})
			var first []order.Fact
			orders := make([]order.Draft, len(turns))
			for n := range turns { // each order of arrival has a sku of its own
				sku := fmt.Sprint("sku-", n)
				first = append(first, listed(sku, 1), granted("first-"+sku, sku, 5))
				orders[n] = draft("ann", line(sku, 4))
			}
			s.must(t, first...)
			_, err := s.Accept(t.Context(), orders)
			must(t, err)
			for step := range turns[0] {
				var facts []order.Fact
				for n, turn := range turns {
					sku := fmt.Sprint("sku-", n)
					grant, revoke := granted("g-"+sku, sku, 2), revoked("g-"+sku, sku, 7) // the two may have one id
					switch turn[step] {
					case "grant":
						facts = append(facts, grant)
					case "revoke":
						facts = append(facts, revoke)
					case "regrant":
						facts = append(facts, grant, granted("h-"+sku, sku, 1), revoke)
					case "cancel":
						_, _, err := s.Cancel(t.Context(), orders[n].ID, "ann", "")
						must(t, err)
					}
				}
				s.must(t, facts...)
			}
			for n, turn := range turns {
				var remaining, owed int64
				must(t, s.db.QueryRowContext(t.Context(), `SELECT remaining, owed FROM allotments WHERE sku_id = $1`,
					fmt.Sprint("sku-", n)).Scan(&remaining, &owed))
				if remaining != 1 || owed != 0 {
					t.Errorf("%v: remaining %d, owed %d, want 1 and 0", turn, remaining, owed)
				}
			}
			s.books(t)
		})
	})

	t.Run("ASaleNeverTakesWhatIsOwed", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 5)
			s.buy(t, draft("ann", line("tea", 5)))
			s.must(t, revoked("r", "tea", 3))
			if a := s.must(t, granted("g", "tea", 2), granted("g", "tea", 2)); !a.Changed[0] || a.Changed[1] || len(a.Freed) != 0 {
				t.Errorf("applied %+v", a)
			}
			refused(t, s.try(t, draft("ann", line("tea", 1))).Err, order.SoldOut)
			if a := s.must(t, granted("h", "tea", 2)); a.Freed["tea"] != 1 {
				t.Errorf("freed %v, want 1", a.Freed)
			}
			s.books(t)
		})
	})

	t.Run("AGrantOfNothingIsRefused", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			for _, units := range []int64{0, -1} {
				_, err := s.apply(t.Context(), granted("g", "tea", units))
				refused(t, err, order.InvalidRequest)
			}
		})
	})

	t.Run("ItemsGoByVersion", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			facts := []order.Fact{listed("tea", 1), listed("tea", 3, limit(7)), retired("tea", 2), granted("g", "tea", 4)}
			turns := permutations([]int{0, 1, 2, 3})
			for step := range turns[0] {
				var now []order.Fact
				for n, turn := range turns {
					f, sku := facts[turn[step]], fmt.Sprint("sku-", n)
					f.Item.SkuID, f.Grant.SkuID, f.Grant.ID = sku, sku, sku
					now = append(now, f)
				}
				s.must(t, now...)
			}
			for n, turn := range turns {
				sku := fmt.Sprint("sku-", n)
				item, err := s.Item(t.Context(), sku)
				must(t, err)
				want := order.CatalogueItem{
					SkuID: sku, Name: "a tea", UnitPriceCents: 250, Currency: "EUR", PerCustomerLimit: 7, Version: 3, Available: 4,
				}
				if item != want {
					t.Errorf("%v: item = %+v, want %+v", turn, item, want)
				}
			}
			a := s.must(t, retired("tea", 2), listed("tea", 1), listed("tea", 3), retired("tea", 4))
			if !slices.Equal(a.Changed, []bool{true, false, true, true}) || !slices.Equal(a.Items, []string{"tea"}) {
				t.Errorf("applied %+v", a)
			}
		})
	})

	t.Run("TheCatalogueHasPages", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			for i := range 7 {
				s.stock(t, fmt.Sprintf("sku-%d", i), int64(i)+1)
			}
			s.must(t, retired("sku-3", 2))
			var got []string
			for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
				page, next, err := s.Items(t.Context(), 2, cursor)
				must(t, err)
				for _, i := range page {
					got = append(got, fmt.Sprintf("%s %d", i.SkuID, i.Available))
				}
				cursor = next
			}
			if want := []string{"sku-0 1", "sku-1 2", "sku-2 3", "sku-4 5", "sku-5 6", "sku-6 7"}; !slices.Equal(got, want) {
				t.Errorf("items %v, want %v", got, want)
			}
			_, _, err := s.Items(t.Context(), 2, "%")
			refused(t, err, order.Malformed)
			_, err = s.Item(t.Context(), "never")
			refused(t, err, order.NotFound)
			if skus, err := s.Skus(t.Context()); err != nil || len(skus) != 7 {
				t.Errorf("skus %v, %v", skus, err)
			}
		})
	})

	t.Run("WhatSoldMostComesFirst", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			for i, sku := range []string{"mug", "tea", "vase"} {
				s.stock(t, sku, 50)
				s.buy(t, draft("ann", line(sku, int64(i)+1)))
			}
			s.buy(t, draft("bob", line("mug", 9)))
			got, err := s.TopSold(t.Context(), 2)
			must(t, err)
			if want := []string{"mug", "vase"}; !slices.Equal(got, want) {
				t.Errorf("top %v, want %v", got, want)
			}
		})
	})
}

func TestCheck(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s shop) {
		s.stock(t, "tea", 50)
		o := s.buy(t, captured(draft("ann", line("tea", 1))))
		fresh := s.buy(t, captured(draft("ann", line("tea", 1))))
		s.must(t, about(order.UnitsBooked, o.ID, "inventory"))
		s.must(t, about(order.GoodsShipped, o.ID, "logistics"))
		before := s.ids(t, o.ID)
		gone := draft("x").ID
		var found []order.Disagreement
		must(t, s.db.Tx(t.Context(), func(tx *database.Tx) (err error) {
			found, err = s.CheckTx(t.Context(), tx, []order.Announced{
				{OrderID: o.ID, Version: 1, Status: order.Created},
				{OrderID: o.ID, Version: 2, Status: order.Paid},
				{OrderID: o.ID, Version: 3, Status: order.Shipped},
				{OrderID: o.ID, Version: 3, Status: order.Refunded},
				{OrderID: fresh.ID, Version: 2, Status: order.Paid},
				{OrderID: gone, Version: 2, Status: order.Paid},
			})
			return err
		}))
		var got []string
		for _, d := range found {
			got = append(got, fmt.Sprint(d.Why, d.Repaired, d.Now, d.At))
		}
		if want := []string{"differstrueshipped3", "aheadtruecreated1", "missingfalse0"}; !slices.Equal(got, want) {
			t.Errorf("found %v, want %v", got, want)
		}
		if again := s.events(t, o.ID)[len(before):]; len(again) != 1 || again[0].ID != fmt.Sprintf("order/%s/3", o.ID) ||
			fmt.Sprint(again[0].Message) != fmt.Sprint(s.events(t, o.ID)[len(before)-1].Message) {
			t.Errorf("announced again %v", again)
		}
		if again := s.ids(t, fresh.ID); !slices.Equal(again, []string{"order/" + fresh.ID + "/1", "order/" + fresh.ID + "/1"}) {
			t.Errorf("announced again %v", again)
		}
	})
}

// permutations are all orders of the elements.
func permutations[T any](elems []T) [][]T {
	if len(elems) == 0 {
		return [][]T{nil}
	}
	var all [][]T
	for i := range elems {
		rest := slices.Delete(slices.Clone(elems), i, i+1)
		for _, p := range permutations(rest) {
			all = append(all, append([]T{elems[i]}, p...))
		}
	}
	return all
}

func TestRemainingNamesWhatIsForSale(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s shop) {
		t.Helper()
		s.stock(t, "tea", 3)
		s.stock(t, "vase", 5)
		s.must(t, retired("vase", 2), listed("mug", 1), granted("early", "not-listed-yet", 7))
		got, err := s.Remaining(t.Context(), []string{"tea", "vase", "mug", "not-listed-yet", "unheard-of"})
		must(t, err)
		if want := map[string]int64{"tea": 3, "mug": 0}; !maps.Equal(got, want) {
			t.Errorf("for sale are %v, want %v", got, want)
		}
	})
}
