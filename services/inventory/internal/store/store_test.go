package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/services/inventory/internal/stock"
	"github.com/floodgate-dev/floodgate/services/inventory/internal/store"
)

// shelf is a migrated database and what a test asks of it.
type shelf struct{ db *database.DB }

func setup(tb testing.TB, db *database.DB) shelf {
	tb.Helper()
	if err := database.Migrate(tb.Context(), db, outbox.Migrations, store.Migrations); err != nil {
		tb.Fatal(err)
	}
	return shelf{db: db}
}

// fataler is a test, or one attempt of a property.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func item(sku string) stock.Item {
	return stock.Item{SKU: sku, Name: "Tea", UnitPrice: 450, Currency: "EUR"}
}

// fill lists sku with units on hand.
func (s shelf) fill(t fataler, sku string, units stock.Units) {
	t.Helper()
	if _, err := store.PutItem(context.Background(), s.db, item(sku), "test"); err != nil {
		t.Fatal(err)
	}
	s.change(t, sku, "fill", units)
}

func (s shelf) change(t fataler, sku, request string, units stock.Units) stock.Levels {
	t.Helper()
	levels, err := store.ChangeStock(context.Background(), s.db, stock.Change{SKU: sku, Request: request, Units: units})
	if err != nil {
		t.Fatal(err)
	}
	return levels
}

func (s shelf) apply(t fataler, facts ...store.Fact) (changed []bool) {
	t.Helper()
	err := s.db.Tx(context.Background(), func(tx *database.Tx) (err error) {
		changed, err = store.ApplyTx(context.Background(), tx, facts)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func (s shelf) levels(t fataler, sku string) stock.Levels {
	t.Helper()
	levels, err := store.Levels(context.Background(), s.db, sku)
	if err != nil {
		t.Fatal(err)
	}
	return levels
}

func (s shelf) number(t fataler, query string, args ...any) (n int64) {
	t.Helper()
	if err := s.db.QueryRowContext(context.Background(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func (s shelf) announced(t fataler, id string) int64 {
	t.Helper()
	return s.number(t, "SELECT count(*) FROM outbox WHERE event_id = $1", id)
}

// balanced checks inventory's books against its ledgers, and that nothing was announced twice.
func (s shelf) balanced(t fataler) {
	t.Helper()
	for book, query := range map[string]string{
		"a unit is nowhere or twice": `SELECT count(*) FROM stock WHERE on_hand <> ungranted + granted_unsold + booked`,
		"booked is not the sum over booked orders": `SELECT count(*) FROM stock s LEFT JOIN (SELECT m.sku, sum(m.units) AS units
			FROM movements m JOIN bookings b ON b.order_id = m.order_id
			WHERE b.state = 'booked' AND m.kind = 'booked' GROUP BY m.sku) l ON l.sku = s.sku WHERE s.booked <> coalesce(l.units, 0)`,
		"on_hand is not what came less what went": `SELECT count(*) FROM stock s
			LEFT JOIN (SELECT sku, sum(units) AS units FROM changes GROUP BY sku) c ON c.sku = s.sku
			LEFT JOIN (SELECT sku, sum(units) AS units FROM movements WHERE kind = 'shipped' GROUP BY sku) m ON m.sku = s.sku
			WHERE s.on_hand <> coalesce(c.units, 0) - coalesce(m.units, 0)`,
		"granted less revoked is not the sum of changes": `SELECT count(*) FROM stock s
			LEFT JOIN (SELECT sku, sum(units) AS units FROM changes GROUP BY sku) c ON c.sku = s.sku
			WHERE s.granted - s.revoked <> coalesce(c.units, 0)`,
		"an event was announced twice": `SELECT count(*) - count(DISTINCT event_id) FROM outbox`,
	} {
		if n := s.number(t, query); n != 0 {
			t.Fatalf("%s: %d", book, n)
		}
	}
}

func about(order string, news stock.News, lines ...stock.Line) store.Fact {
	return store.Fact{Order: order, News: news, Lines: lines}
}

func TestBookings(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		s := setup(t, db)
		t.Cleanup(func() { s.balanced(t) })
		full := stock.Levels{OnHand: 10, GrantedUnsold: 10, Granted: 10}
		for _, c := range []struct {
			name    string
			news    []stock.News
			changed []bool
			want    stock.Levels
			state   stock.State
			events  []int64 // booked, released
		}{
			{
				"AnOrderIsBookedOnce",
				[]stock.News{stock.Ordered, stock.Ordered},
				[]bool{true, false},
				stock.Levels{OnHand: 10, GrantedUnsold: 7, Booked: 3, Granted: 10},
				stock.Booked,
				[]int64{1, 0},
			},
			{
				"AnEndedOrderGivesBackOnce",
				[]stock.News{stock.Ordered, stock.Ended, stock.Ended, stock.Ordered},
				[]bool{true, true, false, false},
				full, stock.Released,
				[]int64{1, 1},
			},
			{
				"AnEndThatArrivesFirstStays",
				[]stock.News{stock.Ended, stock.Ordered, stock.Left},
				[]bool{true, false, false},
				full, stock.Released,
				[]int64{0, 0},
			},
			{
				"ShippedUnitsAreGone",
				[]stock.News{stock.Ordered, stock.Left, stock.Left, stock.Ended},
				[]bool{true, true, false, false},
				stock.Levels{OnHand: 7, GrantedUnsold: 7, Granted: 10},
				stock.Shipped,
				[]int64{1, 0},
			},
			{
				"ShippedImpliesBooked",
				[]stock.News{stock.Left, stock.Ordered},
				[]bool{true, false},
				stock.Levels{OnHand: 7, GrantedUnsold: 7, Granted: 10},
				stock.Shipped,
				[]int64{1, 0},
			},
		} {
			for batch, apply := range map[string]func(fataler, ...store.Fact) []bool{"InOneBatch": s.apply, "OneByOne": s.applyEach} {
				t.Run(c.name+batch, func(t *testing.T) {
					t.Parallel()
					sku, order := servertest.Unique(), uuid.NewString()
					s.fill(t, sku, 10)
					facts := make([]store.Fact, len(c.news))
					for i, n := range c.news {
						facts[i] = about(order, n, stock.Line{SKU: sku, Units: 3})
					}
					if got := apply(t, facts...); !slices.Equal(got, c.changed) {
						t.Errorf("changed %v, want %v", got, c.changed)
					}
					if got := s.levels(t, sku); got != c.want {
						t.Errorf("levels %+v, want %+v", got, c.want)
					}
					if s.number(t, "SELECT count(*) FROM bookings WHERE order_id = $1 AND state = $2", order, string(c.state)) != 1 {
						t.Errorf("the booking is not %s", c.state)
					}
					if got := []int64{s.announced(t, "booked/"+order), s.announced(t, "released/"+order)}; !slices.Equal(got, c.events) {
						t.Errorf("announced booked, released %v, want %v", got, c.events)
					}
				})
			}
		}
		t.Run("WhatWasBookedComesBackWhateverTheEndSays", func(t *testing.T) {
			t.Parallel()
			sku, order := servertest.Unique(), uuid.NewString()
			s.fill(t, sku, 10)
			s.apply(t, about(order, stock.Ordered, stock.Line{SKU: sku, Units: 3}))
			s.apply(t, about(order, stock.Ended, stock.Line{SKU: sku, Units: 9}))
			if got := s.levels(t, sku); got != full {
				t.Errorf("levels %+v", got)
			}
		})
		t.Run("AnUnknownItemFailsUntilItIsListed", func(t *testing.T) {
			t.Parallel()
			sku, order := servertest.Unique(), uuid.NewString()
			facts := []store.Fact{about(order, stock.Ordered, stock.Line{SKU: sku, Units: 1})}
			err := db.Tx(t.Context(), func(tx *database.Tx) error {
				_, err := store.ApplyTx(t.Context(), tx, facts)
				return err
			})
			if !errors.Is(err, store.ErrUnknownItem) {
				t.Fatalf("got %v", err)
			}
			s.fill(t, sku, 1)
			if got := s.apply(t, facts...); !got[0] {
				t.Error("it is not booked after the item was listed")
			}
		})
	})
}

func (s shelf) applyEach(t fataler, facts ...store.Fact) (changed []bool) {
	t.Helper()
	for _, f := range facts {
		changed = append(changed, s.apply(t, f)...)
	}
	return changed
}

func TestItems(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		s := setup(t, db)
		ctx := t.Context()
		sku := "tea"
		dear := item(sku)
		dear.UnitPrice = 900
		for i, step := range []struct {
			do   func() (int64, error)
			want int64
		}{
			{func() (int64, error) { return store.PutItem(ctx, db, item(sku), "ann") }, 1},
			{func() (int64, error) { return store.PutItem(ctx, db, item(sku), "bob") }, 1},
			{func() (int64, error) { return store.PutItem(ctx, db, dear, "ann") }, 2},
			{func() (int64, error) { return store.RetireItem(ctx, db, sku, "ann") }, 3},
			{func() (int64, error) { return store.RetireItem(ctx, db, sku, "bob") }, 3},
			{func() (int64, error) { return store.PutItem(ctx, db, dear, "ann") }, 4},
		} {
			if got, err := step.do(); err != nil || got != step.want {
				t.Errorf("step %d: version %d, %v, want %d", i, got, err, step.want)
			}
		}
		for version := range 4 {
			if n := s.announced(t, fmt.Sprintf("item/tea/%d", version+1)); n != 1 {
				t.Errorf("version %d was announced %d times", version+1, n)
			}
		}
		if n := s.number(t, "SELECT count(*) FROM outbox"); n != 4 {
			t.Errorf("%d events, want 4", n)
		}
		if _, err := store.RetireItem(ctx, db, "never", "ann"); !errors.Is(err, store.ErrUnknownItem) {
			t.Errorf("retire an item that was never listed: %v", err)
		}
		if _, err := store.Levels(ctx, db, "never"); !errors.Is(err, store.ErrUnknownItem) {
			t.Errorf("count an item that was never listed: %v", err)
		}
	})
}

func TestChanges(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		s := setup(t, db)
		t.Cleanup(func() { s.balanced(t) })
		t.Run("ARequestCountsOnceAndItsNameIsTakenForGood", func(t *testing.T) {
			t.Parallel()
			s.fill(t, "tea", 10)
			want := stock.Levels{OnHand: 15, GrantedUnsold: 15, Granted: 15}
			if first, again := s.change(t, "tea", "r-1", 5), s.change(t, "tea", "r-1", 5); first != want || again != want {
				t.Errorf("levels %+v and %+v", first, again)
			}
			if n := s.announced(t, "grant/tea/r-1"); n != 1 {
				t.Errorf("granted %d times", n)
			}
			for _, other := range []stock.Change{{SKU: "tea", Request: "r-1", Units: 6}, {SKU: "tea", Request: "r-1", Units: 5, Reason: "loss"}} {
				if _, err := store.ChangeStock(t.Context(), db, other); !errors.Is(err, store.ErrOtherChange) {
					t.Errorf("%+v: %v", other, err)
				}
			}
		})
		t.Run("SoldUnitsCanBeLostTooAndNoMoreThanThereAre", func(t *testing.T) {
			t.Parallel()
			s.fill(t, "mug", 15)
			s.apply(t, about(uuid.NewString(), stock.Ordered, stock.Line{SKU: "mug", Units: 12}))
			want := stock.Levels{OnHand: 5, GrantedUnsold: -7, Booked: 12, Granted: 15, Revoked: 10}
			if got := s.change(t, "mug", "r-2", -10); got != want {
				t.Errorf("levels %+v, want %+v", got, want)
			}
			if n := s.announced(t, "revoke/mug/r-2"); n != 1 {
				t.Errorf("revoked %d times", n)
			}
			if _, err := store.ChangeStock(t.Context(), db, stock.Change{SKU: "mug", Request: "r-3", Units: -6}); !errors.Is(err, stock.ErrTooFew) {
				t.Errorf("got %v", err)
			}
		})
		t.Run("AnItemThatWasNeverListedHasNoStock", func(t *testing.T) {
			t.Parallel()
			if _, err := store.ChangeStock(t.Context(), db, stock.Change{SKU: "never", Request: "r-1", Units: 1}); !errors.Is(err, store.ErrUnknownItem) {
				t.Errorf("got %v", err)
			}
		})
		t.Run("OfTwentyThatComeTogetherOneCounts", func(t *testing.T) {
			t.Parallel()
			s.fill(t, "cup", 10)
			for round := range 10 {
				together(20, func(int) {
					c := stock.Change{SKU: "cup", Request: fmt.Sprint("together-", round), Units: 1}
					if _, err := store.ChangeStock(context.Background(), db, c); err != nil {
						t.Error(err)
					}
				})
			}
			if got := s.levels(t, "cup").OnHand; got != 20 {
				t.Errorf("%d on hand, want 20", got)
			}
		})
		t.Run("OfTwentyLossesTogetherAsManyCountAsThereAreUnits", func(t *testing.T) {
			t.Parallel()
			s.fill(t, "vase", 10)
			var lost atomic.Int64
			together(20, func(i int) {
				_, err := store.ChangeStock(context.Background(), db, stock.Change{SKU: "vase", Request: fmt.Sprint(i), Units: -1})
				if err == nil {
					lost.Add(1)
				} else if !errors.Is(err, stock.ErrTooFew) {
					t.Error(err)
				}
			})
			if got := s.levels(t, "vase").OnHand; got != 0 || lost.Load() != 10 {
				t.Errorf("%d on hand after %d losses", got, lost.Load())
			}
		})
	})
}

// together runs n calls of f that begin at once.
func together(n int, f func(i int)) {
	var all sync.WaitGroup
	gate := make(chan struct{})
	for i := range n {
		all.Go(func() { <-gate; f(i) })
	}
	close(gate)
	all.Wait()
}

// The model: an order that left has shipped, else one that ended holds nothing, else one that was heard of is booked.
func TestNewsInAnyOrderEndsTheSame(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		s := setup(t, db)
		skus := []string{"tea", "mug"}
		for _, sku := range skus {
			s.fill(t, sku, 1_000_000)
		}
		rapid.Check(t, func(t *rapid.T) {
			want := map[string]stock.Levels{}
			for _, sku := range skus {
				want[sku] = s.levels(t, sku)
			}
			var news []store.Fact
			for range rapid.IntRange(1, 5).Draw(t, "orders") {
				order, end := uuid.NewString(), rapid.SampledFrom([]stock.News{stock.Ordered, stock.Ended, stock.Left}).Draw(t, "end")
				lines := []stock.Line{{SKU: skus[0], Units: 2}, {SKU: skus[1], Units: 1}}[:rapid.IntRange(1, 2).Draw(t, "lines")]
				for _, n := range append([]stock.News{end}, rapid.SliceOfN(rapid.SampledFrom([]stock.News{stock.Ordered, end}), 0, 5).Draw(t, "news")...) {
					news = append(news, about(order, n, lines...))
				}
				for _, l := range lines {
					want[l.SKU] = want[l.SKU].Plus(map[stock.News]stock.Levels{
						stock.Ordered: {GrantedUnsold: -l.Units, Booked: l.Units},
						stock.Left:    {GrantedUnsold: -l.Units, OnHand: -l.Units},
					}[end])
				}
			}
			news = rapid.Permutation(news).Draw(t, "arrival")
			for len(news) > 0 {
				n := rapid.IntRange(1, len(news)).Draw(t, "batch")
				s.apply(t, news[:n]...)
				news = news[n:]
			}
			for sku, levels := range want {
				if got := s.levels(t, sku); got != levels {
					t.Fatalf("levels %+v, want %+v", got, levels)
				}
			}
		})
		s.balanced(t)
	})
}

// Law 6, for orders that are shared and for items that are. Each batch runs once, so that a deadlock is seen and not
// cured by running again; stock changes run beside.
func TestWorkersOnSharedRowsNeverDeadlock(t *testing.T) {
	t.Parallel()
	db := servertest.Postgres(t)
	s := setup(t, db)
	skus := make([]string, 200)
	for i := range skus {
		skus[i] = fmt.Sprint("sku-", i)
		s.fill(t, skus[i], 1000)
	}
	orders := make([]string, 200)
	for i := range orders {
		orders[i] = uuid.NewString()
	}
	var workers sync.WaitGroup
	for w := range 8 {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 6))
			for round := range 25 {
				facts := make([]store.Fact, 40)
				for i := range facts {
					at := r.IntN(len(orders))
					news := []stock.News{stock.Ordered, stock.Ordered, stock.Ended, stock.Left}[r.IntN(4)]
					lines := []stock.Line{{SKU: skus[at], Units: 1}, {SKU: skus[(at*7+3)%200], Units: 2}}
					facts[i] = about(orders[at], news, lines...)
					if i%2 == 0 {
						facts[i] = about(uuid.NewString(), stock.Ordered, lines...)
					}
				}
				if err := once(t.Context(), db, facts); err != nil {
					t.Errorf("worker %d: %v", w, err)
					return
				}
				_, err := store.ChangeStock(t.Context(), db, stock.Change{SKU: skus[r.IntN(200)], Request: fmt.Sprint(w, "-", round), Units: 3})
				if err != nil {
					t.Errorf("worker %d changes stock: %v", w, err)
					return
				}
			}
		})
	}
	workers.Wait()
	s.balanced(t)
}

func once(ctx context.Context, db *database.DB, facts []store.Fact) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	if _, err := store.ApplyTx(ctx, &database.Tx{Tx: tx, Dialect: db.Dialect}, facts); err != nil {
		return err
	}
	return tx.Commit()
}
