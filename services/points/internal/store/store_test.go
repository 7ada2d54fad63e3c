package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/services/points/internal/points"
	"github.com/floodgate-dev/floodgate/services/points/internal/store"
)

// book is a migrated database and what a test asks of it.
type book struct{ db *database.DB }

func setup(tb testing.TB, db *database.DB) book {
	tb.Helper()
	if err := database.Migrate(tb.Context(), db, outbox.Migrations, store.Migrations); err != nil {
		tb.Fatal(err)
	}
	return book{db: db}
}

// fataler is a test, or one attempt of a property.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func (b book) apply(t fataler, facts ...store.Fact) (changed []bool) {
	t.Helper()
	err := b.db.Tx(context.Background(), func(tx *database.Tx) (err error) {
		changed, err = store.ApplyTx(context.Background(), tx, facts)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func (b book) number(t fataler, query string, args ...any) (n int64) {
	t.Helper()
	if err := b.db.QueryRowContext(context.Background(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func (b book) balance(t fataler, user string) points.Points {
	t.Helper()
	n, err := store.Balance(context.Background(), b.db, user)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// balanced checks the book of points: every balance is the sum of its ledger, and every entry was announced once.
func (b book) balanced(t fataler) {
	t.Helper()
	off := b.number(t, `SELECT count(*) FROM (
		SELECT user_id, sum(points) AS points FROM ledger GROUP BY user_id) l FULL JOIN balances b ON b.user_id = l.user_id
		WHERE coalesce(l.points, 0) <> coalesce(b.points, 0)`)
	if off != 0 {
		t.Fatalf("%d balances are not the sum of their ledger", off)
	}
	entries, events := b.number(t, "SELECT count(*) FROM ledger"), b.number(t, "SELECT count(*) FROM outbox")
	if ids := b.number(t, "SELECT count(DISTINCT event_id) FROM outbox"); entries != events || events != ids {
		t.Fatalf("%d entries, %d events, %d ids of events", entries, events, ids)
	}
}

func order(user string, total points.Cents) points.Order {
	return points.Order{ID: uuid.NewString(), User: user, Total: total}
}

func paid(o points.Order) store.Fact     { return store.Fact{Order: o, News: points.Paid} }
func refunded(o points.Order) store.Fact { return store.Fact{Order: o, News: points.Refunded} }

func TestStore(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		b := setup(t, db)
		t.Cleanup(func() { b.balanced(t) })
		t.Run("AnOrderIsRewardedOnce", func(t *testing.T) {
			t.Parallel()
			o := order("u-1", 12_345)
			if got := b.apply(t, paid(o), paid(o)); !slices.Equal(got, []bool{true, false}) {
				t.Errorf("changed %v", got)
			}
			if got := b.apply(t, paid(o)); got[0] || b.balance(t, "u-1") != 123 {
				t.Errorf("again changed %v, balance %d", got, b.balance(t, "u-1"))
			}
		})
		t.Run("ARefundTakesBackOnceAndForGood", func(t *testing.T) {
			t.Parallel()
			o := order("u-2", 500)
			b.apply(t, paid(o))
			if got := b.apply(t, refunded(o), paid(o), refunded(o)); !slices.Equal(got, []bool{true, false, false}) {
				t.Errorf("changed %v", got)
			}
			if n := b.number(t, "SELECT count(*) FROM ledger WHERE order_id = $1", o.ID); n != 2 || b.balance(t, "u-2") != 0 {
				t.Errorf("%d entries, balance %d", n, b.balance(t, "u-2"))
			}
		})
		t.Run("ARefundThatArrivesFirstWins", func(t *testing.T) {
			t.Parallel()
			o := order("u-3", 500)
			if got := append(b.apply(t, refunded(o)), b.apply(t, paid(o))...); !slices.Equal(got, []bool{true, false}) {
				t.Errorf("changed %v", got)
			}
			if n := b.number(t, "SELECT count(*) FROM ledger WHERE order_id = $1", o.ID); n != 2 || b.balance(t, "u-3") != 0 {
				t.Errorf("%d entries, balance %d", n, b.balance(t, "u-3"))
			}
		})
		t.Run("WhatWasAwardedIsTakenBackWhateverTheRefundSays", func(t *testing.T) {
			t.Parallel()
			o := order("u-4", 900)
			b.apply(t, paid(o))
			o.Total = 200
			b.apply(t, refunded(o))
			if b.balance(t, "u-4") != 0 {
				t.Errorf("balance %d", b.balance(t, "u-4"))
			}
		})
		t.Run("ASmallOrderEarnsNothingAndIsAnnounced", func(t *testing.T) {
			t.Parallel()
			o := order("u-5", 99)
			if got := b.apply(t, paid(o)); !got[0] {
				t.Error("nothing changed")
			}
			if n := b.number(t, "SELECT count(*) FROM outbox WHERE event_id = $1", "points-awarded/"+o.ID); n != 1 || b.balance(t, "u-5") != 0 {
				t.Errorf("%d events, balance %d", n, b.balance(t, "u-5"))
			}
		})
		t.Run("NoFactsChangeNothing", func(t *testing.T) {
			t.Parallel()
			if got := b.apply(t); len(got) != 0 {
				t.Errorf("changed %v", got)
			}
		})
	})
}

// The model: an order that was ever refunded holds nothing, any other that was heard of holds its points.
func TestNewsInAnyOrderEndsTheSame(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		b := setup(t, db)
		rapid.Check(t, func(t *rapid.T) {
			prefix := uuid.NewString()
			want := map[string]points.Points{}
			var news []store.Fact
			for i := range rapid.IntRange(1, 4).Draw(t, "orders") {
				o := order(fmt.Sprint(prefix, i%2), points.Cents(rapid.Int64Range(0, 1000).Draw(t, "cents")))
				told := rapid.SliceOfN(rapid.SampledFrom([]store.Fact{paid(o), refunded(o)}), 1, 6).Draw(t, "news")
				if !slices.Contains(told, refunded(o)) {
					want[o.User] += points.For(o.Total)
				}
				news = append(news, told...)
			}
			entries := b.number(t, "SELECT count(*) FROM ledger")
			var changes int64
			for _, batch := range batches(t, rapid.Permutation(news).Draw(t, "arrival")) {
				for i, changed := range b.apply(t, batch...) {
					if changed {
						changes++
					}
					if changed && i > 0 && slices.Contains(batch[:i], batch[i]) {
						t.Fatal("a repeat says that it changed something")
					}
				}
			}
			for user, n := range want {
				if got := b.balance(t, user); got != n {
					t.Fatalf("balance of %s is %d, want %d", user, got, n)
				}
			}
			if made := b.number(t, "SELECT count(*) FROM ledger") - entries; changes > made || made > 2*changes {
				t.Fatalf("%d facts changed something and made %d entries", changes, made)
			}
		})
		b.balanced(t)
	})
}

// batches cuts facts into batches of any size.
func batches(t *rapid.T, facts []store.Fact) (all [][]store.Fact) {
	for len(facts) > 0 {
		n := rapid.IntRange(1, len(facts)).Draw(t, "batch")
		all, facts = append(all, facts[:n]), facts[n:]
	}
	return all
}

// Law 6, for orders that are shared and for users that are. Each batch runs once, so that a deadlock is seen and not
// cured by running again.
func TestWorkersOnSharedRowsNeverDeadlock(t *testing.T) {
	t.Parallel()
	db := servertest.Postgres(t)
	b := setup(t, db)
	shared := make([]points.Order, 200)
	for i := range shared {
		shared[i] = order(fmt.Sprint("u-", i), 1000)
	}
	var workers sync.WaitGroup
	for w := range 8 {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 6))
			for range 25 {
				facts := make([]store.Fact, 60)
				for i := range facts {
					facts[i] = paid(shared[r.IntN(len(shared))])
					if i%2 == 0 {
						facts[i] = paid(order(fmt.Sprint("u-", r.IntN(200)), 1000))
					}
					if r.IntN(3) == 0 {
						facts[i].News = points.Refunded
					}
				}
				if err := once(t.Context(), db, facts); err != nil {
					t.Errorf("worker %d: %v", w, err)
					return
				}
			}
		})
	}
	workers.Wait()
	b.balanced(t)
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
