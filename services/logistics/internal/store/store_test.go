package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/services/logistics/internal/shipment"
	"github.com/floodgate-dev/floodgate/services/logistics/internal/store"
)

// yard is a migrated database and what a test asks of it.
type yard struct{ db *database.DB }

func setup(tb testing.TB, db *database.DB) yard {
	tb.Helper()
	if err := database.Migrate(tb.Context(), db, outbox.Migrations, store.Migrations); err != nil {
		tb.Fatal(err)
	}
	return yard{db: db}
}

// fataler is a test, or one attempt of a property.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func (y yard) apply(t fataler, facts ...store.Fact) (changed []bool) {
	t.Helper()
	err := y.db.Tx(context.Background(), func(tx *database.Tx) (err error) {
		changed, err = store.ApplyTx(context.Background(), tx, facts)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func (y yard) of(t fataler, order uuid.UUID) shipment.Shipment {
	t.Helper()
	s, err := store.Of(context.Background(), y.db, order)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (y yard) hear(t fataler, order uuid.UUID, news shipment.News) shipment.Shipment {
	t.Helper()
	s, err := store.Hear(context.Background(), y.db, shipment.Report{Shipment: store.ID(order), News: news, Carrier: "DHL", By: "operator:ann"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// announced lists what was announced about an order, in order, each with its version.
func (y yard) announced(t fataler, order uuid.UUID) string {
	t.Helper()
	rows, err := y.db.QueryContext(context.Background(),
		"SELECT event_id, version FROM outbox WHERE event_id LIKE $1 ORDER BY version", "shipment/"+order.String()+"/%")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var all []string
	for rows.Next() {
		var id string
		var version int64
		if err := rows.Scan(&id, &version); err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(id[strings.LastIndex(id, "/")+1:], " ", version))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, ", ")
}

func paid(order uuid.UUID) store.Fact {
	return store.Fact{Order: order, News: shipment.Paid, By: "shop"}
}

func refunded(order uuid.UUID) store.Fact {
	return store.Fact{Order: order, News: shipment.Refunded, By: "shop"}
}

func TestStore(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		y := setup(t, db)
		t.Run("APaidOrderHasOneShipment", func(t *testing.T) {
			t.Parallel()
			order := uuid.New()
			if got := append(y.apply(t, paid(order), paid(order)), y.apply(t, paid(order))...); !slices.Equal(got, []bool{true, false, false}) {
				t.Errorf("changed %v", got)
			}
			want := shipment.Shipment{ID: store.ID(order), Order: order.String(), Status: shipment.Created}
			if got := y.of(t, order); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
			if got := y.announced(t, order); got != "created 1" {
				t.Errorf("announced %s", got)
			}
		})
		t.Run("DeliveredBeforeShippedMakesBothMoves", func(t *testing.T) {
			t.Parallel()
			order := uuid.New()
			y.apply(t, paid(order))
			y.hear(t, order, shipment.HandedOut)
			if got := y.hear(t, order, shipment.OnItsWay); got.Status != shipment.Delivered || got.Carrier != "DHL" {
				t.Errorf("%+v", got)
			}
			if got := y.announced(t, order); got != "created 1, shipped 2, delivered 3" {
				t.Errorf("announced %s", got)
			}
		})
		t.Run("ARefundCallsOffWhatHasNotLeft", func(t *testing.T) {
			t.Parallel()
			order := uuid.New()
			y.apply(t, paid(order))
			if got := y.apply(t, refunded(order), refunded(order)); !slices.Equal(got, []bool{true, false}) {
				t.Errorf("changed %v", got)
			}
			if got := y.announced(t, order); y.of(t, order).Status != shipment.CalledOff || got != "created 1, called-off 2" {
				t.Errorf("%+v, announced %s", y.of(t, order), got)
			}
			_, err := store.Hear(t.Context(), db, shipment.Report{Shipment: store.ID(order), News: shipment.OnItsWay})
			if !errors.Is(err, store.ErrCalledOff) {
				t.Errorf("news of it: %v", err)
			}
		})
		t.Run("ARefundThatArrivesFirstWins", func(t *testing.T) {
			t.Parallel()
			order := uuid.New()
			if got := append(y.apply(t, refunded(order)), y.apply(t, paid(order))...); !slices.Equal(got, []bool{true, false}) {
				t.Errorf("changed %v", got)
			}
			if got := y.announced(t, order); y.of(t, order).Status != shipment.CalledOff || got != "created 1, called-off 2" {
				t.Errorf("%+v, announced %s", y.of(t, order), got)
			}
		})
		t.Run("ARefundAfterItLeftChangesNothing", func(t *testing.T) {
			t.Parallel()
			order := uuid.New()
			y.apply(t, paid(order))
			y.hear(t, order, shipment.OnItsWay)
			if got := y.apply(t, refunded(order)); got[0] || y.of(t, order).Status != shipment.Shipped {
				t.Errorf("changed %v, %+v", got, y.of(t, order))
			}
		})
		t.Run("WhatIsNotThereIsNotFound", func(t *testing.T) {
			t.Parallel()
			if _, err := store.Of(t.Context(), db, uuid.New()); !errors.Is(err, store.ErrNoShipment) {
				t.Errorf("an order's: %v", err)
			}
			_, err := store.Hear(t.Context(), db, shipment.Report{Shipment: uuid.NewString(), News: shipment.OnItsWay})
			if !errors.Is(err, store.ErrNoShipment) {
				t.Errorf("a carrier's: %v", err)
			}
		})
		t.Run("EveryStepSaysWhoAndWhen", func(t *testing.T) {
			t.Parallel()
			order := uuid.New()
			y.apply(t, paid(order))
			y.hear(t, order, shipment.OnItsWay)
			var by string
			var atMS int64
			err := db.QueryRowContext(t.Context(), "SELECT told_by, at_ms FROM steps WHERE order_id = $1 AND status = 'shipped'", order.String()).Scan(&by, &atMS)
			if err != nil || by != "operator:ann" || atMS < 1_700_000_000_000 {
				t.Errorf("by %q at %d, %v", by, atMS, err)
			}
		})
	})
}

// The model: a refund wins over a payment; steps and announcements are the same whatever came first.
func TestNewsInAnyOrderEndsTheSame(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		y := setup(t, db)
		rapid.Check(t, func(t *rapid.T) {
			want := map[uuid.UUID]string{}
			var news []store.Fact
			for range rapid.IntRange(1, 4).Draw(t, "orders") {
				order := uuid.New()
				told := rapid.SliceOfN(rapid.SampledFrom([]store.Fact{paid(order), refunded(order)}), 1, 6).Draw(t, "news")
				want[order] = "created 1"
				if slices.Contains(told, refunded(order)) {
					want[order] = "created 1, called-off 2"
				}
				news = append(news, told...)
			}
			news = rapid.Permutation(news).Draw(t, "arrival")
			for len(news) > 0 {
				n := rapid.IntRange(1, len(news)).Draw(t, "batch")
				y.apply(t, news[:n]...)
				news = news[n:]
			}
			for order, steps := range want {
				status := shipment.Created
				if strings.Contains(steps, "called-off") {
					status = shipment.CalledOff
				}
				if got := y.announced(t, order); got != steps || y.of(t, order).Status != status {
					t.Fatalf("announced %s, want %s; %+v", got, steps, y.of(t, order))
				}
			}
		})
	})
}

// Law 6. Each batch runs once, so that a deadlock is seen and not cured by running again; carriers' news runs beside.
func TestWorkersOnSharedRowsNeverDeadlock(t *testing.T) {
	t.Parallel()
	db := servertest.Postgres(t)
	y := setup(t, db)
	orders := make([]uuid.UUID, 200)
	for i := range orders {
		orders[i] = uuid.New()
	}
	var workers sync.WaitGroup
	for w := range 8 {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 6))
			for range 25 {
				facts := make([]store.Fact, 60)
				for i := range facts {
					facts[i] = paid(orders[r.IntN(len(orders))])
					if r.IntN(3) == 0 {
						facts[i].News = shipment.Refunded
					}
				}
				if err := once(t.Context(), db, facts); err != nil {
					t.Errorf("worker %d: %v", w, err)
					return
				}
				report := shipment.Report{Shipment: store.ID(facts[0].Order), News: shipment.HandedOut}
				if _, err := store.Hear(t.Context(), db, report); err != nil && !errors.Is(err, store.ErrCalledOff) {
					t.Errorf("worker %d hears: %v", w, err)
					return
				}
			}
		})
	}
	workers.Wait()
	for _, order := range orders {
		switch got := y.announced(t, order); got {
		case "", "created 1", "created 1, called-off 2", "created 1, shipped 2, delivered 3":
		default:
			t.Errorf("order %s: announced %s", order, got)
		}
	}
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
