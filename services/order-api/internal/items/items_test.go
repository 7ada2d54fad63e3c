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

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// replica is a cache of one process.
type replica struct {
	*Cache
	testing.TB
}

func open(tb testing.TB, b books, addr string, change ...func(*Config)) replica {
	tb.Helper()
	cfg := Defaults()
	for _, c := range change {
		c(&cfg)
	}
	log := slog.New(slog.DiscardHandler)
	var guard *redisdb.Guard
	if addr != "" {
		client := redisdb.Open(redisdb.Config{Addrs: []string{addr}})
		tb.Cleanup(func() { _ = client.Close() })
		guard = redistest.Guard(tb, client)
	}
	c, err := New(cfg, b, guard, log, noop.NewMeterProvider())
	must(tb, err)
	return replica{c, tb}
}

// run runs r until the test ends, and returns when it hears and its filter is believed.
func (r replica) run() replica {
	r.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Run(ctx) })
	r.Cleanup(func() { cancel(); wg.Wait() })
	r.await("it does not listen", r.listens.Load)
	r.await("the filter is not believed", r.believes)
	return r
}

func (r replica) believes() bool { return !r.filter.mayHold("surely never listed") }

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

// Penetration: what does not exist reaches nobody.
func TestAbsentSkusAskNobody(t *testing.T) {
	t.Parallel()
	b := newTruth(t)
	b.list(t, 1, 450, "tea")
	r := open(t, b, redistest.New(t).Addr).run()
	r.everybody(10_000, func(i int) string { return fmt.Sprint("absent ", i) })
	if n := b.asked(); n > 0 {
		t.Errorf("10,000 requests for absent skus asked the database %d times", n)
	}
	if r.Unknown([]order.Line{{SkuID: "tea"}, {SkuID: "absent 1"}}) == nil || r.Unknown([]order.Line{{SkuID: "tea"}}) != nil {
		t.Error("the wrong order is refused")
	}
	// What is listed after the filter was made is known at once, and to the next filter.
	b.list(t, 1, 100, "absent 7")
	r.Changed(t.Context(), "absent 7")
	if got := r.price("absent 7"); got != 100 || r.Unknown([]order.Line{{SkuID: "absent 7"}}) != nil {
		t.Errorf("an item that was just listed costs %d", got)
	}
}

// What one replica lists passes the filters of the others as soon as they are told, and those that nobody was told of when the
// filter is made anew.
func TestTheFilterIsKeptYoung(t *testing.T) {
	t.Parallel()
	b := newTruth(t)
	server := redistest.New(t)
	writer, reader := open(t, b, server.Addr).run(), open(t, b, server.Addr, func(c *Config) { c.FilterMaxAge = time.Second }).run()
	b.list(t, 1, 450, "tea", "mug")
	writer.Changed(t.Context(), "tea")
	reader.await("an item that another replica listed does not pass", func() bool { return reader.filter.mayHold("tea") })
	listed := b.listed.Load()
	reader.await("an item that nobody told of does not pass in the end", func() bool { return reader.filter.mayHold("mug") })
	if b.listed.Load() == listed {
		t.Error("the filter was not made anew")
	}
	server.Freeze() // nobody is told now
	b.list(t, 1, 450, "vase")
	writer.Changed(t.Context(), "vase")
	if writer.Unknown([]order.Line{{SkuID: "vase"}}) != nil {
		t.Error("an item is unknown to the replica that listed it")
	}
}

// What was asked for before everything was forgotten is not kept: whoever forgets may have missed a change meanwhile.
func TestWhatWasAskedForBeforeIsNotKept(t *testing.T) {
	t.Parallel()
	b := newTruth(t)
	b.list(t, 1, 450, "tea")
	r := open(t, b, redistest.New(t).Addr).run()
	began, goOn := make(chan struct{}), make(chan struct{})
	b.while = func() { close(began); <-goOn }
	old := make(chan int64)
	go func() { old <- r.price("tea") }()
	<-began
	b.list(t, 2, 500, "tea") // nobody told
	r.forgetAll()
	close(goOn)
	<-old
	b.while = nil
	must(t, r.shared.redis.FlushAll(t.Context()).Err())
	if got := r.price("tea"); got != 500 {
		t.Errorf("tea costs %d", got)
	}
}

// What passes the filter by chance is asked for once, and then remembered as absent, here and in Redis.
func TestAbsenceIsRemembered(t *testing.T) {
	t.Parallel()
	b := newTruth(t)
	addr := redistest.New(t).Addr
	first, second := open(t, b, addr), open(t, b, addr) // their filters are not made: everything passes
	for range 10 {
		if got := first.price("none"); got != -1 {
			t.Errorf("none costs %d", got)
		}
	}
	second.price("none")
	if n := b.asked(); n != 1 {
		t.Errorf("the database was asked %d times", n)
	}
	alone := open(t, b, "")
	for range 10 {
		alone.price("none")
	}
	if n := b.asked(); n != 1 {
		t.Errorf("without Redis the database was asked %d times", n)
	}
}

// Breakdown: one hot item that nobody has any more is asked for once, under a thousand requests at once.
func TestAHotItemIsAskedForOnce(t *testing.T) {
	t.Parallel()
	busy := func() { <-time.After(50 * time.Millisecond) }

	t.Run("WhichNobodyHasYet", func(t *testing.T) {
		t.Parallel()
		b := newTruth(t)
		b.list(t, 1, 450, "tea")
		r := open(t, b, redistest.New(t).Addr).run()
		b.while = busy
		r.everybody(1000, func(int) string { return "tea" })
		if n := b.asked(); n != 1 {
			t.Errorf("1,000 requests asked the database %d times", n)
		}
		if n := reads(t, r); n > 4 { // one of ours, and those of the script that writes
			t.Errorf("1,000 requests read from Redis %d times", n)
		}
	})

	t.Run("WhoseTimeEnds", func(t *testing.T) {
		t.Parallel()
		b := newTruth(t)
		b.list(t, 1, 450, "tea")
		r := open(t, b, redistest.New(t).Addr, shortly).run()
		r.price("tea")
		must(t, r.shared.redis.FlushAll(t.Context()).Err()) // its time there has ended too
		<-time.After(ended)
		b.asked()
		b.while = busy
		r.everybody(1000, func(int) string { return "tea" })
		r.await("nobody asks anew", func() bool { return b.looked.Load() > 0 })
		<-time.After(200 * time.Millisecond) // who else might ask has
		if looked, counted := b.looked.Load(), b.counted.Load(); looked != 1 || counted > 1 {
			t.Errorf("1,000 requests asked the database %d times for the item and %d times for what remains", looked, counted)
		}
	})

	// Nobody would tell of a change, so nothing is served after its second: all thousand wait.
	t.Run("WhoseTimeEndsWithoutRedis", func(t *testing.T) {
		t.Parallel()
		b := newTruth(t)
		b.list(t, 1, 450, "tea")
		r := open(t, b, "")
		r.price("tea")
		<-time.After(ended)
		b.asked()
		b.while = busy
		r.everybody(1000, func(int) string { return "tea" })
		if n := b.asked(); n != 1 {
			t.Errorf("1,000 requests asked the database %d times", n)
		}
	})
}

// reads is how often Redis was asked for a value.
func reads(t *testing.T, r replica) (calls int) {
	t.Helper()
	stats, err := r.shared.redis.InfoMap(t.Context(), "commandstats").Result()
	must(t, err)
	_, err = fmt.Sscanf(stats["Commandstats"]["cmdstat_get"], "calls=%d,", &calls)
	must(t, err)
	return calls
}

// shortly lets a process keep items for a second, after which they have ended.
func shortly(c *Config) { c.LocalTTL = time.Second }

const ended = 1200 * time.Millisecond

// Avalanche: what was kept together does not end together, here or in Redis.
func TestTenThousandTimesDiffer(t *testing.T) {
	t.Parallel()
	b := newTruth(t)
	skus := names(10_000)
	b.list(t, 1, 450, skus...)
	r := open(t, b, redistest.New(t).Addr).run()
	r.Changed(t.Context(), skus...)
	here, there := map[time.Duration]int{}, map[time.Duration]int{}
	began := time.Now()
	for _, sku := range skus {
		e, _ := r.local.GetIfPresent(sku)
		here[e.until.Sub(began).Truncate(time.Second)]++
		ttl, err := r.shared.redis.PTTL(t.Context(), keyOf(sku)).Result()
		must(t, err)
		there[ttl.Truncate(10*time.Second)]++
	}
	for where, ends := range map[string]map[time.Duration]int{"this process": here, "Redis": there} {
		for at, n := range ends {
			if n > 300 { // of a hundred and twenty parts of the time, one has some eighty
				t.Errorf("%d of 10,000 items end in %s within one moment, %v from now", n, where, at)
			}
		}
	}
}

// And where ten thousand do end in one moment, and are all asked for in the next, the database is asked some hundred times at most:
// for what remains alone where Redis has the items, for the items too where it lost them.
func TestTenThousandItemsEndTogether(t *testing.T) {
	t.Parallel()
	for _, kept := range []bool{true, false} {
		t.Run(fmt.Sprintf("kept in Redis %v", kept), func(t *testing.T) {
			t.Parallel()
			b := newTruth(t)
			skus := names(10_000)
			b.list(t, 1, 450, skus...)
			r := open(t, b, redistest.New(t).Addr, shortly).run()
			r.Changed(t.Context(), skus...)
			if !kept {
				must(t, r.shared.redis.FlushAll(t.Context()).Err())
			}
			<-time.After(ended)
			b.asked()
			began := time.Now()
			r.everybody(10_000, func(i int) string { return skus[i] })
			r.await("not all are asked for anew", func() bool {
				for _, sku := range skus {
					if e, _ := r.local.GetIfPresent(sku); !e.since.After(began) {
						return false
					}
				}
				return true
			})
			looked, counted := b.looked.Load(), b.counted.Load()
			t.Logf("the database was asked %d times for items and %d times for what remains", looked, counted)
			if kept && looked > 0 || looked > 2000 || counted > 2000 {
				t.Errorf("10,000 items asked the database %d times for items and %d times for what remains", looked, counted)
			}
		})
	}
}

// An item after its time is served while one asks anew.
func TestAStaleItemIsServedWhileOneAsks(t *testing.T) {
	t.Parallel()
	b := newTruth(t)
	b.list(t, 1, 450, "tea")
	r := open(t, b, redistest.New(t).Addr, func(c *Config) { c.LocalTTL = 50 * time.Millisecond }).run()
	r.price("tea")
	must(t, r.shared.redis.FlushAll(t.Context()).Err())
	b.list(t, 2, 500, "tea") // nobody told
	<-time.After(100 * time.Millisecond)
	r.noteUnits("tea", 1)
	release := make(chan struct{})
	b.while = func() { <-release }
	b.asked()
	r.everybody(100, func(int) string { return "tea" }) // nobody waits
	r.await("nobody asks", func() bool { return b.looked.Load() == 1 })
	close(release)
	r.await("it stays stale", func() bool { return r.price("tea") == 500 })
}

// A database that is away is asked for a stale item by one in a while, not by all who are served it.
func TestAStaleItemIsServedWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	b := newTruth(t)
	b.list(t, 1, 450, "tea")
	r := open(t, b, redistest.New(t).Addr, shortly).run()
	r.price("tea")
	must(t, r.shared.redis.FlushAll(t.Context()).Err())
	<-time.After(ended)
	r.noteUnits("tea", 1)
	b.asked()
	b.away.Store(true)
	for n := range 200 {
		if got := r.price("tea"); got != 450 {
			t.Fatalf("tea costs %d", got)
		}
		if n == 0 {
			r.await("nobody asks", func() bool { return b.looked.Load() == 1 })
		}
	}
	<-time.After(50 * time.Millisecond) // who else might ask has
	if n := b.looked.Load(); n != 1 {
		t.Errorf("200 requests asked %d times", n)
	}
}

// A change is seen on the other replica as soon as it is told, and a look that began before it cannot bring the old one back,
// here or in Redis.
func TestALateFillNeverOverwritesWhatIsNewer(t *testing.T) {
	t.Parallel()
	b := newTruth(t)
	b.list(t, 1, 450, "tea")
	addr := redistest.New(t).Addr
	writer, reader := open(t, b, addr).run(), open(t, b, addr).run()
	began, goOn := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	b.while = func() {
		if first.CompareAndSwap(false, true) { // it has read the old price, and is slow to say so
			close(began)
			<-goOn
		}
	}
	slow := make(chan int64)
	go func() { slow <- reader.price("tea") }()
	<-began
	b.list(t, 2, 500, "tea")
	writer.Changed(t.Context(), "tea")
	reader.await("the other replica was not told", func() bool {
		e, _ := reader.local.GetIfPresent("tea")
		return e.floor == 2
	})
	close(goOn)
	<-slow
	for name, r := range map[string]replica{"writer": writer, "reader": reader} {
		if got := r.price("tea"); got != 500 {
			t.Errorf("the %s says %d", name, got)
		}
	}
	item, found, err := writer.shared.get(t.Context(), "tea")
	if err != nil || !found || item.Version != 2 {
		t.Errorf("Redis has version %d, %v, %v", item.Version, found, err)
	}
}

// A replica that cannot hear keeps items for a second, believes no filter, and serves all the same.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"stopped", "frozen"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			b := newTruth(t)
			b.list(t, 1, 450, "tea")
			server := redistest.New(t)
			r := open(t, b, server.Addr).run()
			r.price("tea")
			if how == "stopped" {
				server.Stop()
			} else {
				server.Freeze()
			}
			r.await("it does not notice", func() bool { return !r.listens.Load() })
			b.list(t, 2, 500, "tea")
			b.list(t, 1, 100, "new")
			r.Changed(t.Context(), "tea") // Redis hears of it later
			r.await("the old price stays", func() bool { return r.price("tea") == 500 })
			if got := r.price("new"); got != 100 {
				t.Errorf("an item that nobody told of costs %d", got)
			}
			if how == "stopped" {
				server.Start()
			} else {
				server.Thaw()
			}
			r.await("it does not listen again", r.believes)
			r.await("Redis has the old price", func() bool {
				item, found, err := r.shared.get(t.Context(), "tea")
				return err == nil && found && item.Version == 2
			})
		})
	}
}

func TestWithoutRedis(t *testing.T) {
	t.Parallel()
	b := newTruth(t)
	b.list(t, 1, 450, "tea")
	r := open(t, b, "")
	r.everybody(1000, func(int) string { return "tea" })
	if n := b.asked(); n != 1 {
		t.Errorf("1,000 requests asked the database %d times", n)
	}
	b.list(t, 2, 500, "tea")
	began := time.Now()
	r.await("the old price stays", func() bool { return r.price("tea") == 500 })
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the old price stayed for %v", took)
	}
}

func TestWhatSoldMostIsWarm(t *testing.T) {
	t.Parallel()
	b := newTruth(t)
	b.list(t, 1, 450, "tea", "mug")
	b.sell(t, "tea", 10)
	r := open(t, b, redistest.New(t).Addr)
	r.Warm(t.Context())
	b.asked()
	if got, asked := r.price("tea"), b.asked(); got != 450 || asked > 0 {
		t.Errorf("tea costs %d after %d questions", got, asked)
	}
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

// What can be sold of an item is not kept as long as the item.
func TestWhatCanBeSoldIsASecondOldAtMost(t *testing.T) {
	t.Parallel()
	b := newTruth(t)
	b.list(t, 1, 450, "tea")
	r := open(t, b, redistest.New(t).Addr).run()
	left := func() int64 {
		item, err := r.Item(t.Context(), "tea")
		must(t, err)
		return item.Available
	}
	if got := left(); got != 0 {
		t.Errorf("%d can be sold before there are any", got)
	}
	b.sell(t, "tea", 10)
	b.asked()
	began := time.Now()
	r.await("what can be sold stays as it was", func() bool { return left() == 9 })
	if took, looked := time.Since(began), b.looked.Load(); took > 3*time.Second || looked > 0 {
		t.Errorf("it took %v and %d questions for the item", took, looked)
	}
}

// The filter holds what it is made for at the rate it is made for, and everything that was listed while it was made.
func TestFilter(t *testing.T) {
	t.Parallel()
	f := &filter{size: 1_000_000, rate: 0.0001}
	must(t, f.build(t.Context(), func(context.Context) ([]string, error) {
		f.add("listed meanwhile")
		all := names(1_000_000)
		return all, nil
	}))
	wrong := 0
	for i := range 1_000_000 {
		if f.mayHold(fmt.Sprint("absent ", i)) {
			wrong++
		}
	}
	if wrong > 150 {
		t.Errorf("%d of 1,000,000 pass, want about 100", wrong)
	}
	for _, sku := range []string{"listed meanwhile", "sku 0", "sku 999999"} {
		if !f.mayHold(sku) {
			t.Errorf("%s does not pass", sku)
		}
	}
	f.doubt()
	if !f.mayHold("absent 1") {
		t.Error("a filter that is doubted still refuses")
	}
	must(t, f.build(t.Context(), func(context.Context) ([]string, error) { f.doubt(); return nil, nil }))
	if !f.mayHold("absent 1") {
		t.Error("a filter is believed although something was missed while it was made")
	}
}

func BenchmarkItem(b *testing.B) {
	books := newTruth(b)
	books.list(b, 1, 450, "tea")
	r := open(b, books, redistest.New(b).Addr).run()
	b.Run("local", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Item(b.Context(), "tea"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("refused by the filter", func(b *testing.B) {
		b.ReportAllocs()
		lines := []order.Line{{SkuID: "absent", Quantity: 1}}
		for b.Loop() {
			if r.Unknown(lines) == nil {
				b.Fatal("it passes")
			}
		}
	})
}

func newID(tb testing.TB) string {
	tb.Helper()
	id, err := uuid.NewV7()
	must(tb, err)
	return id.String()
}
