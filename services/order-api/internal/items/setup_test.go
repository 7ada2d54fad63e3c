package items

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redisdb"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redistest"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/store"
)

// truth is a store in Postgres that counts what it is asked.
type truth struct {
	*store.Store

	db      *database.DB
	looked  atomic.Int64 // questions for items
	counted atomic.Int64 // questions for what remains of them
	listed  atomic.Int64 // questions for all skus
	while   func()       // what happens between a look at items and the answer
	away    atomic.Bool  // it answers nothing
}

func (b *truth) ItemsOf(ctx context.Context, skus []string) (map[string]order.CatalogueItem, error) {
	if b.looked.Add(1); b.away.Load() {
		return nil, errors.New("away")
	}
	items, err := b.Store.ItemsOf(ctx, skus)
	if b.while != nil {
		b.while()
	}
	return items, err
}

func (b *truth) Remaining(ctx context.Context, skus []string) (map[string]int64, error) {
	b.counted.Add(1)
	return b.Store.Remaining(ctx, skus)
}

// asked is how many questions there were for items and for what remains of them; the next count begins anew.
func (b *truth) asked() int64 { return b.looked.Swap(0) + b.counted.Swap(0) }

func (b *truth) Skus(ctx context.Context) ([]string, error) {
	b.listed.Add(1)
	return b.Store.Skus(ctx)
}

func newTruth(tb testing.TB) *truth {
	tb.Helper()
	db := servertest.Postgres(tb)
	must(tb, database.Migrate(tb.Context(), db, outbox.Migrations, store.Migrations))
	s, err := store.Open(db)
	must(tb, err)
	return &truth{Store: s, db: db}
}

// list lists an item, or changes its price.
func (b *truth) list(tb testing.TB, version, cents int64, skus ...string) {
	tb.Helper()
	facts := make([]order.Fact, len(skus))
	for i, sku := range skus {
		facts[i] = order.Fact{Kind: order.ItemListed, Item: order.CatalogueItem{
			SkuID: sku, Name: sku, UnitPriceCents: order.Cents(cents), Currency: "EUR", Version: version,
		}}
	}
	must(tb, b.db.Tx(tb.Context(), func(tx *database.Tx) error {
		_, err := b.ApplyTx(tb.Context(), tx, facts)
		return err
	}))
}

// sell grants units of a sku and sells one of them.
func (b *truth) sell(tb testing.TB, sku string, units int64) {
	tb.Helper()
	must(tb, b.db.Tx(tb.Context(), func(tx *database.Tx) error {
		_, err := b.ApplyTx(tb.Context(), tx, []order.Fact{{Kind: order.UnitsGranted, Grant: order.Grant{ID: newID(tb), SkuID: sku, Units: units}}})
		return err
	}))
	drafts := []order.Draft{{ID: newID(tb), UserID: "u", Payment: order.Captured, Lines: []order.Line{{SkuID: sku, Quantity: 1}}}}
	if v, err := b.Accept(tb.Context(), drafts); err != nil || !v[0].Accepted() {
		tb.Fatalf("%+v, %v", v, err)
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func newID(tb testing.TB) string {
	tb.Helper()
	id, err := uuid.NewV7()
	must(tb, err)
	return id.String()
}

// replica is a cache of one process.
type replica struct {
	*Cache
	testing.TB
}

// own is a Redis of the test's own.
func own(tb testing.TB) redisdb.Config {
	tb.Helper()
	return redistest.At(redistest.New(tb).Addr)
}

// none is no Redis.
var none redisdb.Config

func open(tb testing.TB, b books, redis redisdb.Config, change ...func(*Config)) replica {
	tb.Helper()
	cfg := Defaults()
	for _, c := range change {
		c(&cfg)
	}
	log := slog.New(slog.DiscardHandler)
	var guard *redisdb.Guard
	if redis.Addrs != nil {
		guard = redistest.Guard(tb, redistest.Open(tb, redis), redis)
	}
	c, err := New(cfg, b, guard, log, noop.NewMeterProvider())
	must(tb, err)
	return replica{c, tb}
}

// run runs r until the test ends, and returns when it hears, is warm and believes its filter.
func (r replica) run() replica {
	r.Helper()
	r.start()
	r.await("it does not listen", r.listens.Load)
	r.await("it does not get warm", r.warmed.Load)
	r.await("the filter is not believed", r.believes)
	return r
}

func (r replica) start() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Run(ctx) })
	r.Cleanup(func() { cancel(); wg.Wait() })
}

func (r replica) believes() bool { return !r.filter.mayHold("surely never listed") }

// told says whether Redis and the others know of all that changed.
func (r replica) told() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.untold) == 0
}

func (r replica) await(complaint string, ok func() bool) {
	r.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); {
		if time.Now().After(end) {
			r.Fatal(complaint)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// price is what an item costs, -1 where there is none.
func (r replica) price(sku string) int64 {
	r.Helper()
	item, err := r.Item(r.Context(), sku)
	var refusal *order.Error
	if errors.As(err, &refusal) && refusal.Code == order.NotFound {
		return -1
	}
	must(r, err)
	return int64(item.UnitPriceCents)
}

// everybody asks n times at once.
func (r replica) everybody(n int, sku func(i int) string) {
	r.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { r.price(sku(i)) })
	}
	wg.Wait()
}

func names(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprint("sku ", i)
	}
	return all
}
