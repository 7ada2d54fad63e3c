package store_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

func TestAccept(t *testing.T) {
	t.Parallel()

	t.Run("SellsWholeOrdersOrNothing", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 5)
			s.stock(t, "mug", 1)
			o := s.buy(t, draft("ann", line("tea", 2), line("mug", 1), line("tea", 1)))
			if o.TotalCents != 1000 || len(o.Items) != 2 || o.Items[1] != (order.Item{SkuID: "tea", Quantity: 3, UnitPriceCents: 250}) {
				t.Errorf("order = %+v", o)
			}
			v := s.try(t, draft("bob", line("tea", 1), line("mug", 1)))
			refused(t, v.Err, order.SoldOut)
			short, _ := errors.AsType[*order.Error](v.Err)
			equal(t, "left", short.Left, map[string]int64{"mug": 0})
			if left := s.remaining(t, "tea"); left != 2 {
				t.Errorf("%d tea remain, want 2", left)
			}
			s.books(t)
			s.versions(t, o.ID)
		})
	})

	t.Run("WhatIsReadIsWhatWasAnswered", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 5)
			d := draft("ann", line("tea", 1))
			d.Reference, d.Metadata, d.By = "R-1", map[string]string{"gift": "yes", "nul": "\u0001"}, "shop:corner"
			o := s.buy(t, d)
			if got := s.get(t, o.ID); !reflect.DeepEqual(got, o) {
				t.Errorf("read  %+v\nanswered %+v", got, o)
			}
			if o.ExpiresAt.Sub(o.CreatedAt) != d.Window {
				t.Errorf("expires %v after %v", o.ExpiresAt, o.CreatedAt)
			}
		})
	})

	t.Run("RefusesWhatIsNotSold", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 5)
			s.stock(t, "old", 5)
			s.stock(t, "sake", 5, func(i *order.CatalogueItem) { i.Currency = "JPY" })
			s.must(t, retired("old", 2), granted("early", "unlisted", 5))
			for _, c := range []struct {
				lines []order.Line
				want  order.Code
			}{
				{[]order.Line{line("never", 1)}, order.UnknownItem},
				{[]order.Line{line("unlisted", 1)}, order.UnknownItem},
				{[]order.Line{line("tea", 1), line("old", 1)}, order.UnknownItem},
				{[]order.Line{line("tea", 1), line("sake", 1)}, order.MixedCurrency},
			} {
				refused(t, s.try(t, draft("ann", c.lines...)).Err, c.want)
			}
			s.books(t)
		})
	})

	t.Run("CountsWhatACustomerHolds", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 10, limit(3))
			first := s.buy(t, draft("ann", line("tea", 2)))
			refused(t, s.try(t, draft("ann", line("tea", 2))).Err, order.LimitReached)
			s.buy(t, draft("bob", line("tea", 3)))
			_, _, err := s.Cancel(t.Context(), first.ID, "ann", "")
			must(t, err)
			must(t, s.Hide(t.Context(), first.ID))
			s.buy(t, draft("ann", line("tea", 3)))
			refused(t, s.try(t, draft("ann", line("tea", 1))).Err, order.LimitReached)
			s.books(t)
		})
	})

	t.Run("AKeyIsOneOrder", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 3, limit(2))
			d := keyed("k", captured(draft("ann", line("tea", 2))))
			first := s.buy(t, d)
			s.must(t, about(order.UnitsBooked, first.ID, "inventory"), retired("tea", 2))
			_, _, err := s.Refund(t.Context(), first.ID, "shop:x", "broken")
			must(t, err)
			must(t, s.Hide(t.Context(), first.ID))
			s.must(t, revoked("all", "tea", 3))

			again := d
			again.ID = draft("ann").ID
			for range 2 { // sold out, retired, refunded and hidden by now
				v := s.try(t, again)
				must(t, v.Err)
				if !v.Replayed || !reflect.DeepEqual(v.Order, first) {
					t.Errorf("replayed %v %+v, want %+v", v.Replayed, v.Order, first)
				}
			}
			answers, err := s.LookupKeys(t.Context(), []order.Draft{draft("ann"), again, keyed("k", draft("bob", line("tea", 2)))})
			must(t, err)
			if answers[0] != nil || answers[2] != nil || answers[1] == nil || !reflect.DeepEqual(answers[1].Order, first) {
				t.Errorf("looked up %+v", answers)
			}
			refused(t, s.try(t, keyed("k", draft("ann", line("tea", 1)))).Err, order.KeyReused)
			s.books(t)
		})
	})

	t.Run("ARefusalBindsNoKey", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 1)
			d := keyed("k", draft("ann", line("tea", 2)))
			refused(t, s.try(t, d).Err, order.SoldOut)
			s.must(t, granted("more", "tea", 1))
			s.buy(t, d)
		})
	})

	t.Run("ABatchIsDecidedInOrderOfArrival", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 3)
			one := keyed("k", draft("ann", line("tea", 2)))
			two := one
			two.ID = draft("ann").ID
			verdicts, err := s.Accept(t.Context(), []order.Draft{one, two, draft("bob", line("tea", 2)), draft("cid", line("tea", 1))})
			must(t, err)
			if !verdicts[0].Accepted() || !verdicts[1].Replayed || verdicts[1].Order.ID != one.ID || !verdicts[3].Accepted() {
				t.Errorf("verdicts %+v", verdicts)
			}
			refused(t, verdicts[2].Err, order.SoldOut)
			s.books(t)
		})
	})

	t.Run("AFailingStatementSellsNothing", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 3)
			good, bad := draft("ann", line("tea", 1)), draft("bob", line("tea", 1))
			bad.ID = "no id at all"
			if _, err := s.Accept(t.Context(), []order.Draft{good, bad, bad}); err == nil {
				t.Fatal("a batch with a broken order was accepted")
			}
			if left := s.remaining(t, "tea"); left != 3 {
				t.Errorf("%d remain, want 3", left)
			}
			settled, err := s.Settle(t.Context(), []order.Draft{good})
			must(t, err)
			if settled[0] != nil {
				t.Errorf("settled %+v", settled[0])
			}
			s.buy(t, good)
			settled, err = s.Settle(t.Context(), []order.Draft{good})
			must(t, err)
			if settled[0] == nil || settled[0].Order.ID != good.ID {
				t.Errorf("settled %+v", settled[0])
			}
		})
	})

	t.Run("ADelayStandsBeforeTheCommit", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 3)
			s.DelayAccepts(100 * time.Millisecond)
			began := time.Now()
			s.buy(t, draft("ann", line("tea", 1)))
			if took := time.Since(began); took < 100*time.Millisecond {
				t.Errorf("accepted after %v, before the delay was over", took)
			}
			s.DelayAccepts(time.Minute)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if _, err := s.Accept(ctx, []order.Draft{draft("bob", line("tea", 1))}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a batch that is called off says %v", err)
			}
			if left := s.remaining(t, "tea"); left != 2 {
				t.Errorf("%d remain, want 2", left)
			}
		})
	})
}
