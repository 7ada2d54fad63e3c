package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

func TestMoves(t *testing.T) {
	t.Parallel()

	t.Run("ALifeIsAnnouncedMoveByMove", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 5)
			o := s.buy(t, captured(draft("ann", line("tea", 2))))
			for _, kind := range []order.Kind{order.UnitsBooked, order.GoodsShipped, order.GoodsDelivered} {
				for _, first := range []bool{true, false} {
					a := s.must(t, about(kind, o.ID, "x"), about(kind, o.ID, "x"))
					if a.Changed[0] != first || a.Changed[1] {
						t.Errorf("%s, for the first time %v: changed %v", kind, first, a.Changed)
					}
				}
			}
			got := s.get(t, o.ID)
			if got.Status != order.Delivered || got.Version != 4 || got.PaymentRef != order.CapturedRef {
				t.Errorf("order = %+v", got)
			}
			s.versions(t, o.ID)
			equal(t, "refunds", s.refunds(t, o.ID), map[string]string{})
			s.books(t)
		})
	})

	t.Run("DeliveredFirstMakesBothMoves", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 5)
			o := s.buy(t, captured(draft("ann", line("tea", 2))))
			s.must(t, about(order.UnitsBooked, o.ID, "inventory"))
			s.must(t, about(order.GoodsDelivered, o.ID, "logistics"))
			s.must(t, about(order.GoodsShipped, o.ID, "logistics"))
			if got := s.get(t, o.ID); got.Status != order.Delivered || got.Version != 4 {
				t.Errorf("order is %s, version %d", got.Status, got.Version)
			}
			s.versions(t, o.ID)
		})
	})

	t.Run("ATerminalFactFirstWins", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 5)
			o := s.buy(t, draft("ann", line("tea", 2)))
			_, freed, err := s.Cancel(t.Context(), o.ID, "ann", "changed my mind")
			must(t, err)
			equal(t, "freed", freed, map[string]int64{"tea": 2})
			a := s.must(t, about(order.UnitsBooked, o.ID, "inventory"), about(order.GoodsDelivered, o.ID, "logistics"))
			if !a.Changed[0] || !a.Changed[1] {
				t.Error("facts that came late are not in the timeline")
			}
			if got := s.get(t, o.ID); got.Status != order.Cancelled || got.Version != 2 || got.Reason != "changed my mind" {
				t.Errorf("order = %+v", got)
			}
			s.books(t)
		})
	})

	t.Run("UnitsGoBackOnceAndOnlyBeforeTheyLeft", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 9)
			early, late := s.buy(t, captured(draft("ann", line("tea", 2)))), s.buy(t, captured(draft("ann", line("tea", 3))))
			s.must(t, about(order.UnitsBooked, early.ID, "inventory"), about(order.UnitsBooked, late.ID, "inventory"))
			s.must(t, about(order.GoodsShipped, late.ID, "logistics"))
			for range 2 {
				for _, id := range []string{early.ID, late.ID} {
					_, _, err := s.Refund(t.Context(), id, "shop:x", "broken")
					must(t, err)
				}
			}
			if left := s.remaining(t, "tea"); left != 6 {
				t.Errorf("%d remain, want 6", left)
			}
			equal(t, "refunds", s.refunds(t, early.ID), map[string]string{order.CapturedRef: order.DueRefunded})
			equal(t, "refunds", s.refunds(t, late.ID), map[string]string{order.CapturedRef: order.DueRefunded})
			s.books(t)
		})
	})

	t.Run("WhatIsOwedIsPaidFirst", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 5)
			o := s.buy(t, draft("ann", line("tea", 4)))
			if a := s.must(t, revoked("r", "tea", 4)); a.Freed["tea"] != -1 {
				t.Errorf("freed %v, want -1", a.Freed)
			}
			_, freed, err := s.Cancel(t.Context(), o.ID, "ann", "")
			must(t, err)
			equal(t, "freed", freed, map[string]int64{"tea": 1})
			s.books(t)
		})
	})

	t.Run("IllegalMovesSayWhereTheOrderStands", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 5)
			o := s.buy(t, captured(draft("ann", line("tea", 2))))
			_, _, err := s.Refund(t.Context(), o.ID, "shop:x", "")
			refused(t, err, order.IllegalMove)
			refused(t, s.Hide(t.Context(), o.ID), order.IllegalMove)
			_, err = s.apply(t.Context(), about(order.GoodsShipped, o.ID, "logistics"))
			refused(t, err, order.IllegalMove)
			s.must(t, about(order.UnitsBooked, o.ID, "inventory"))
			_, _, err = s.Cancel(t.Context(), o.ID, "ann", "")
			refused(t, err, order.IllegalMove)
			_, err = s.apply(t.Context(), about(order.UnitsBooked, draft("x").ID, "inventory"))
			refused(t, err, order.NotFound)
			for _, id := range []string{draft("x").ID, "x", "", "' OR 1=1"} {
				_, _, err = s.Cancel(t.Context(), id, "ann", "")
				refused(t, err, order.NotFound)
				_, err = s.Get(t.Context(), id)
				refused(t, err, order.NotFound)
				_, err = s.Timeline(t.Context(), id)
				refused(t, err, order.NotFound)
			}
			_, _, err = s.Cancel(t.Context(), o.ID, "ann", "nul \x00")
			refused(t, err, order.InvalidRequest)
			s.versions(t, o.ID)
		})
	})

	t.Run("TheSweeperCancelsWhatIsNotPaid", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 9)
			brief := func(user string) order.Draft {
				d := draft(user, line("tea", 1))
				d.Window = -time.Second
				return d
			}
			due, booked, paid := s.buy(t, brief("ann")), s.buy(t, brief("ann")), s.buy(t, brief("ann"))
			s.buy(t, draft("ann", line("tea", 1)))
			s.buy(t, captured(draft("ann", line("tea", 1))))
			s.must(t, about(order.UnitsBooked, booked.ID, "inventory"))
			_, err := s.Pay(t.Context(), paid.ID, "p", "shop:x")
			must(t, err)
			first, freed, err := s.Expire(t.Context(), 1)
			must(t, err)
			equal(t, "freed", freed, map[string]int64{"tea": 1})
			second, _, err := s.Expire(t.Context(), 9)
			must(t, err)
			var got []string
			for _, o := range slices.Concat(first, second) {
				if o.Status != order.Cancelled || o.Reason != order.Expired {
					t.Errorf("expired %+v", o)
				}
				got = append(got, o.ID)
			}
			slices.Sort(got)
			if want := []string{due.ID, booked.ID}; !slices.Equal(got, want) {
				t.Errorf("expired %v, want %v", got, want)
			}
			_, err = s.Pay(t.Context(), due.ID, "late", "shop:x")
			refused(t, err, order.IllegalMove)
			equal(t, "refunds", s.refunds(t, due.ID), map[string]string{"late": order.DueExpired})
			s.books(t)
		})
	})
}

func TestPayments(t *testing.T) {
	t.Parallel()

	t.Run("MoneyBeforeBookingIsKept", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 9)
			o := s.buy(t, draft("ann", line("tea", 1)))
			for range 2 {
				got, err := s.Pay(t.Context(), o.ID, "p", "shop:x")
				must(t, err)
				if got.Status != order.Created || got.Version != 1 {
					t.Errorf("order = %+v", got)
				}
			}
			s.must(t, about(order.UnitsBooked, o.ID, "inventory"))
			if got := s.get(t, o.ID); got.Status != order.Paid || got.Version != 2 || got.PaymentRef != "p" {
				t.Errorf("order = %+v", got)
			}
			equal(t, "refunds", s.refunds(t, o.ID), map[string]string{})
		})
	})

	t.Run("MoneyAfterBookingPays", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 9)
			o := s.buy(t, draft("ann", line("tea", 1)))
			s.must(t, about(order.UnitsBooked, o.ID, "inventory"))
			if got := s.get(t, o.ID); got.Status != order.Confirmed {
				t.Fatalf("order is %s", got.Status)
			}
			got, err := s.Pay(t.Context(), o.ID, "p", "shop:x")
			must(t, err)
			if got.Status != order.Paid || got.Version != 3 || got.PaymentRef != "p" {
				t.Errorf("order = %+v", got)
			}
			s.versions(t, o.ID)
		})
	})

	t.Run("ASecondPaymentGoesBack", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 9)
			o := s.buy(t, draft("ann", line("tea", 1)))
			_, err := s.Pay(t.Context(), o.ID, "p", "shop:x")
			must(t, err)
			for range 2 {
				_, err = s.Pay(t.Context(), o.ID, "q", "shop:x")
				refused(t, err, order.IllegalMove)
			}
			_, err = s.Pay(t.Context(), o.ID, "p", "shop:x")
			must(t, err)
			equal(t, "refunds", s.refunds(t, o.ID), map[string]string{"q": order.DueAlreadyPaid})
		})
	})

	t.Run("ACancelledOrderGivesItsMoneyBack", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 9)
			o := s.buy(t, captured(draft("ann", line("tea", 1))))
			for range 2 {
				got, _, err := s.Cancel(t.Context(), o.ID, "ann", "")
				must(t, err)
				if got.Status != order.Cancelled || got.PaymentRef != "" {
					t.Errorf("order = %+v", got)
				}
			}
			for range 2 {
				_, err := s.Pay(t.Context(), o.ID, "late", "shop:x")
				refused(t, err, order.IllegalMove)
			}
			_, err := s.Pay(t.Context(), o.ID, order.CapturedRef, "shop:x")
			must(t, err) // the same payment again gets the answer it had: it was taken
			equal(t, "refunds", s.refunds(t, o.ID), map[string]string{order.CapturedRef: order.DueCancelled, "late": order.DueCancelled})
			s.books(t)
		})
	})

	t.Run("ARefundedOrderGivesItsMoneyBackOnce", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 9)
			o := s.buy(t, draft("ann", line("tea", 1)))
			s.must(t, about(order.UnitsBooked, o.ID, "inventory"))
			_, err := s.Pay(t.Context(), o.ID, "p", "shop:x")
			must(t, err)
			_, _, err = s.Refund(t.Context(), o.ID, "shop:x", "broken")
			must(t, err)
			_, err = s.Pay(t.Context(), o.ID, "p", "shop:x")
			must(t, err)
			_, err = s.Pay(t.Context(), o.ID, "", "shop:x")
			refused(t, err, order.InvalidRequest)
			equal(t, "refunds", s.refunds(t, o.ID), map[string]string{"p": order.DueRefunded})
		})
	})
}
