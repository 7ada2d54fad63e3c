package gate_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/gate"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redisdb"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redistest"
)

// shelf is the truth that a gate is set from.
type shelf struct {
	mu    sync.Mutex
	units map[string]int64 // guarded by mu
	asked atomic.Int64
	while func(asked int64) // what happens before the database looks
	after func(asked int64) // what happens before its answer is heard
}

func (s *shelf) Remaining(_ context.Context, skus []string) (map[string]int64, error) {
	asked := s.asked.Add(1)
	if s.while != nil {
		s.while(asked)
	}
	left := s.look(skus)
	if s.after != nil {
		s.after(asked)
	}
	return left, nil
}

func (s *shelf) look(skus []string) map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := map[string]int64{}
	for _, sku := range skus {
		if units, listed := s.units[sku]; listed {
			left[sku] = units
		}
	}
	return left
}

func (s *shelf) set(sku string, units int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.units[sku] = units
}

// bundle is a gate over a Redis of the test's own.
type bundle struct {
	*gate.Counters
	kind  string
	cfg   redisdb.Config
	redis redis.UniversalClient
	shelf *shelf
	meter metric.MeterProvider
}

// ground is a Redis and the kind of gate that stands on it.
type ground struct {
	redisdb.Config

	kind  string
	meter metric.MeterProvider // nil where nobody looks
}

func setup(t testing.TB, on ground) bundle {
	t.Helper()
	b := bundle{
		kind: on.kind, meter: on.meter, cfg: on.Config, redis: redistest.Open(t, on.Config),
		shelf: &shelf{units: map[string]int64{"tea": 10, "mug": 5}},
	}
	b.Counters = another(t, b)
	return b
}

// one asks the gate for one order.
func one(ctx context.Context, g *gate.Counters, op string, lines []order.Line) gate.Ticket {
	return g.TakeAll(ctx, []gate.Asking{{Op: op, Lines: lines}})[0]
}

// Take asks the gate for one order.
func (b bundle) Take(ctx context.Context, op string, lines []order.Line) gate.Ticket {
	return one(ctx, b.Counters, op, lines)
}

// another is the gate of a second replica.
func another(t testing.TB, b bundle) *gate.Counters {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if b.meter == nil {
		b.meter = noop.NewMeterProvider()
	}
	g, err := gate.New(b.kind, redistest.Guard(t, b.redis, b.cfg), b.shelf, gate.NewSoldOut(), gate.Observers{Log: log, Meter: b.meter})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// run keeps the gate true until the test ends.
func (b bundle) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = b.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
}

func (b bundle) left(t *testing.T, sku string) int64 {
	t.Helper()
	n, err := b.redis.Get(t.Context(), "stock:{"+sku+"}").Int64()
	if err != nil {
		t.Fatalf("counter of %s: %v", sku, err)
	}
	return n
}

func (b bundle) want(t *testing.T, sku string, units int64) {
	t.Helper()
	if got := b.left(t, sku); got != units {
		t.Errorf("the counter of %s is %d, want %d", sku, got, units)
	}
}

func (b bundle) eventually(t *testing.T, sku string, units int64) {
	t.Helper()
	await(t, fmt.Sprintf("the counter of %s does not become %d", sku, units), func() bool {
		got, err := b.redis.Get(t.Context(), "stock:{"+sku+"}").Result()
		return err == nil && got == strconv.FormatInt(units, 10)
	})
}

func await(t *testing.T, complaint string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal(complaint)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func lines(of ...any) []order.Line {
	var all []order.Line
	for i := 0; i < len(of); i += 2 {
		all = append(all, order.Line{SkuID: of[i].(string), Quantity: int64(of[i+1].(int))})
	}
	return all
}

// each runs a test on a Redis, on a Cluster and on the embedded one, by script and by lock.
func each(t *testing.T, name string, test func(t *testing.T, on ground)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		for _, kind := range []string{gate.KindLua, gate.KindLock} {
			on := func(cfg ground) ground { cfg.kind = kind; return cfg }
			t.Run(kind+"/Redis", func(t *testing.T) { t.Parallel(); test(t, on(at(redistest.New(t).Addr))) })
			t.Run(kind+"/Cluster", func(t *testing.T) {
				t.Parallel()
				cfg := at(redistest.NewCluster(t).Addr)
				cfg.Cluster = true
				test(t, on(cfg))
			})
			t.Run(kind+"/Embedded", func(t *testing.T) { t.Parallel(); test(t, on(at(miniredis.RunT(t).Addr()))) })
		}
	})
}

func at(addr string) ground {
	return ground{Config: redistest.At(addr), kind: gate.KindLua}
}

func TestCounters(t *testing.T) {
	t.Parallel()

	each(t, "ManyBuyersOfTwoReplicasGetWhatThereIs", func(t *testing.T, on ground) {
		t.Helper()
		b := setup(t, on)
		gates := []*gate.Counters{b.Counters, another(t, b)}
		var through atomic.Int64
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				if !one(t.Context(), gates[i%2], fmt.Sprint("order ", i), lines("tea", 1)).Refused() {
					through.Add(1)
				}
			})
		}
		wg.Wait()
		if through.Load() != 10 {
			t.Errorf("%d went through, want 10", through.Load())
		}
		b.want(t, "tea", 0)
	})

	each(t, "ARefusalSaysWhatIsLeft", func(t *testing.T, on ground) {
		t.Helper()
		b := setup(t, on)
		ticket := b.Take(t.Context(), "a", lines("tea", 11))
		if !ticket.Refused() || ticket.Left["tea"] != 10 {
			t.Errorf("left %v, want 10 of tea", ticket.Left)
		}
	})

	each(t, "WhatIsNotForSaleIsTheTransactionsToRefuse", func(t *testing.T, on ground) {
		t.Helper()
		b := setup(t, on)
		if b.Take(t.Context(), "a", lines("unheard of", 1)).Refused() {
			t.Error("a sku that was never listed was called sold out")
		}
		if n := b.redis.Exists(t.Context(), "stock:{unheard of}").Val(); n != 0 {
			t.Error("any name that a caller makes up gets a counter")
		}
		b.Take(t.Context(), "b", lines("tea", 10))
		b.shelf.mu.Lock()
		delete(b.shelf.units, "tea") // retired
		b.shelf.mu.Unlock()
		b.run(t)
		await(t, "a retired item is still called sold out", func() bool {
			return !b.Take(t.Context(), "c", lines("tea", 1)).Refused()
		})
	})

	each(t, "ARepeatTakesNoSecondUnit", func(t *testing.T, on ground) {
		t.Helper()
		b := setup(t, on)
		first := b.Take(t.Context(), "a", lines("tea", 3))
		repeat := b.Take(t.Context(), "a", lines("tea", 3))
		if first.Refused() || repeat.Refused() {
			t.Fatal("refused")
		}
		b.want(t, "tea", 7)
		b.GiveBack(t.Context(), repeat) // it took nothing
		b.want(t, "tea", 7)
		b.GiveBack(t.Context(), first)
		b.want(t, "tea", 10)
		b.GiveBack(t.Context(), first)
		b.want(t, "tea", 10)
	})

	each(t, "ALaterLineRefusedGivesTheEarlierOnesBack", func(t *testing.T, on ground) {
		t.Helper()
		b := setup(t, on)
		if !b.Take(t.Context(), "a", lines("mug", 5, "tea", 11)).Refused() {
			t.Error("11 of 10 went through")
		}
		b.want(t, "mug", 5)
		if b.Take(t.Context(), "a", lines("mug", 5, "tea", 10)).Refused() {
			t.Error("the same operation cannot try again")
		}
	})

	each(t, "AGiveBackAfterAReloadMakesNoUnits", func(t *testing.T, on ground) {
		t.Helper()
		b := setup(t, on)
		before := b.Take(t.Context(), "a", lines("tea", 3))
		if err := b.redis.Del(t.Context(), "stock:{tea}").Err(); err != nil {
			t.Fatal(err)
		}
		b.Take(t.Context(), "b", lines("tea", 1)) // loads all 10: nothing was sold
		b.GiveBack(t.Context(), before)
		b.want(t, "tea", 9)
	})

	each(t, "ARepeatAfterAReloadTakesAnew", func(t *testing.T, on ground) {
		t.Helper()
		b := setup(t, on)
		b.Take(t.Context(), "a", lines("tea", 3))
		if err := b.redis.Del(t.Context(), "stock:{tea}").Err(); err != nil {
			t.Fatal(err)
		}
		b.Take(t.Context(), "b", lines("tea", 1)) // loads all 10: nothing was sold
		for range 2 {
			b.Take(t.Context(), "a", lines("tea", 3))
			b.want(t, "tea", 6)
		}
	})

	each(t, "AWipedOrBrokenCounterIsLoadedAgain", func(t *testing.T, on ground) {
		t.Helper()
		b := setup(t, on)
		b.Take(t.Context(), "a", lines("tea", 3))
		b.shelf.set("tea", 7)
		for i, wreck := range []func() error{
			func() error { return b.redis.FlushAll(t.Context()).Err() },
			func() error { return b.redis.Set(t.Context(), "stock:{tea}", "-4", 0).Err() },
			func() error { return b.redis.Set(t.Context(), "stock:{tea}", "many", 0).Err() },
			func() error {
				b.redis.Del(t.Context(), "stock:{tea}")
				return b.redis.SAdd(t.Context(), "stock:{tea}", "x").Err()
			},
		} {
			if err := wreck(); err != nil {
				t.Fatal(err)
			}
			if b.Take(t.Context(), fmt.Sprint("after ", i), lines("tea", 7)).Refused() {
				t.Errorf("wreck %d: 7 of 7 were refused", i)
			}
			b.want(t, "tea", 0)
		}
	})

	each(t, "TheResyncLowersAndRaises", func(t *testing.T, on ground) {
		t.Helper()
		b := setup(t, on)
		b.run(t)
		for _, old := range []int{1000, 0} {
			b.Take(t.Context(), fmt.Sprint("with ", old), lines("tea", 1))
			if err := b.redis.Set(t.Context(), "stock:{tea}", old, 0).Err(); err != nil {
				t.Fatal(err)
			}
			b.eventually(t, "tea", 10)
		}
	})

	each(t, "UnitsThatNobodyBoughtComeBackAlone", func(t *testing.T, on ground) {
		t.Helper()
		b := setup(t, on)
		b.run(t)
		lost := b.Take(t.Context(), "its process died", lines("tea", 10))
		b.eventually(t, "tea", 10)
		b.GiveBack(t.Context(), lost) // it was only slow: the counter was set since and holds its units already
		b.want(t, "tea", 10)
	})

	each(t, "ChangedStockIsSeenAtOnceAndTold", func(t *testing.T, on ground) {
		t.Helper()
		b := setup(t, on)
		told := b.redis.Subscribe(t.Context(), "stock:changed")
		defer func() { _ = told.Close() }()
		if _, err := told.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.Take(t.Context(), "a", lines("tea", 10))
		b.shelf.set("tea", 25)
		b.Changed(t.Context(), "tea")
		b.want(t, "tea", 25)
		b.shelf.set("tea", 4)
		b.Changed(t.Context(), "tea")
		b.want(t, "tea", 4)
		select {
		case m := <-told.Channel():
			if m.Payload != "tea" {
				t.Errorf("told of %q", m.Payload)
			}
		case <-time.After(5 * time.Second):
			t.Error("nobody was told")
		}
	})
}

// A round over many skus rests in between, and hurries after Redis was away: then all are right again soon.
func TestTheResyncRests(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	b := setup(t, ground{Config: redistest.Hurried(server.Addr), kind: gate.KindLua})
	const skus, chunk = 10_000, 500
	var asking []gate.Asking
	var names []string
	var tooMany []any
	for i := range skus {
		sku := fmt.Sprint("sku ", i)
		b.shelf.units[sku] = 5
		asking = append(asking, gate.Asking{Op: "first", Lines: lines(sku, 1)})
		names, tooMany = append(names, "stock:{"+sku+"}"), append(tooMany, "stock:{"+sku+"}", 9)
	}
	for some := range slices.Chunk(asking, chunk) {
		b.TakeAll(t.Context(), some)
	}
	b.shelf.while = func(int64) { <-time.After(20 * time.Millisecond) }
	b.shelf.asked.Store(0)
	b.run(t)
	<-time.After(4 * time.Second)
	if n := b.shelf.asked.Load(); n == 0 || n > 10 { // one takes 400 ms with its rest
		t.Errorf("it asked %d times in four seconds", n)
	}

	server.Freeze()
	await(t, "the gate does not open", func() bool {
		return !b.Take(t.Context(), fmt.Sprint("frozen at ", time.Now()), lines("tea", 11)).Refused()
	})
	server.Thaw()
	client := server.Client()
	if err := client.MSet(t.Context(), tooMany...).Err(); err != nil {
		t.Fatal(err)
	}
	thawed := time.Now()
	await(t, "not all are right again", func() bool {
		left := client.MGet(t.Context(), names...).Val()
		return !slices.ContainsFunc(left, func(n any) bool { return n != "5" })
	})
	if took := time.Since(thawed); took > 6*time.Second { // rests alone would be eight
		t.Errorf("all are right after %v", took)
	}
}

// Units on their way from the gate to the commit are missing in the counter and still in the database. While orders
// flow, the resync must not hand them out again.
func TestUnitsUnderWayAreNotHandedOutAgain(t *testing.T) {
	t.Parallel()

	t.Run("WhileOrdersFlow", func(t *testing.T) {
		t.Parallel()
		b := setup(t, at(redistest.New(t).Addr))
		b.shelf.set("tea", 1000)
		b.run(t)
		for taken := range int64(35) {
			b.Take(t.Context(), fmt.Sprint("order ", taken), lines("tea", 1))
			b.want(t, "tea", 999-taken)
			<-time.After(100 * time.Millisecond) // orders a customer apart, over several rounds of the resync
		}
	})

	t.Run("WhenOneComesAsTheResyncLooks", func(t *testing.T) {
		t.Parallel()
		b := setup(t, at(redistest.New(t).Addr))
		taken := int64(0)
		b.Take(t.Context(), "the first", lines("tea", 1))
		b.shelf.while = func(asked int64) {
			if asked%2 == 1 { // in every second round, when the counter seems to stand still
				taken++
				b.Take(t.Context(), fmt.Sprint("order ", taken), lines("tea", 1))
			}
		}
		b.run(t)
		await(t, "no rounds", func() bool { return b.shelf.asked.Load() >= 6 })
		if got, most := b.left(t, "tea"), int64(10-1-2); got > most {
			t.Errorf("the counter is %d, want at most %d", got, most)
		}
	})
}

// An answer of the database that is older than the counter does not set it.
func TestACounterSetMeanwhileStays(t *testing.T) {
	t.Parallel()
	b := setup(t, at(redistest.New(t).Addr))
	b.Take(t.Context(), "loads the counter", lines("tea", 1))
	other := another(t, b)
	var told atomic.Bool
	b.shelf.after = func(int64) { // ten remain, says the database; before that is heard, seven are sold and the counter is set anew
		if !told.CompareAndSwap(false, true) {
			return
		}
		b.shelf.set("tea", 3)
		if err := b.redis.Del(t.Context(), "stock:{tea}").Err(); err != nil {
			t.Error(err)
		}
		one(t.Context(), other, "sets the counter", lines("tea", 1))
		b.shelf.set("tea", 2)
	}
	b.Changed(t.Context(), "tea")
	b.want(t, "tea", 2)
}

func TestRedisAway(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	b := setup(t, at(server.Addr))
	b.run(t)
	b.Take(t.Context(), "before", lines("tea", 4))
	b.shelf.set("tea", 6)
	server.Stop()

	slowest := time.Duration(0)
	for i := range 2000 {
		began := time.Now()
		if b.Take(t.Context(), fmt.Sprint("away ", i), lines("tea", 1)).Refused() {
			t.Fatal("an order was refused because Redis is away")
		}
		slowest = max(slowest, time.Since(began))
	}
	if slowest > time.Second {
		t.Errorf("an order waited %v for a Redis that is away", slowest)
	}

	server.Start()
	back := time.Now()
	await(t, "the gate does not close again", func() bool {
		return b.Take(t.Context(), fmt.Sprint("probe ", time.Since(back)), lines("tea", 7)).Refused()
	})
	if took := time.Since(back); took > 10*time.Second {
		t.Errorf("the gate closed after %v", took)
	}
	b.eventually(t, "tea", 6)
}

// Connections to a frozen Redis stand, and every word to it costs a whole patience. The breaker saves the others from it.
func TestRedisFrozen(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	b := setup(t, ground{Config: redistest.Hurried(server.Addr), kind: gate.KindLua})
	b.Take(t.Context(), "before", lines("tea", 1))
	server.Freeze()
	began := time.Now()
	for i := range 100 {
		if b.Take(t.Context(), fmt.Sprint("frozen ", i), lines("tea", 1)).Refused() {
			t.Fatal("an order was refused because Redis is frozen")
		}
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("100 orders waited %v for a Redis that is frozen", took)
	}
	server.Thaw()
	await(t, "the gate does not close again", func() bool {
		return b.Take(t.Context(), fmt.Sprint("probe ", time.Now()), lines("tea", 11)).Refused()
	})
}

// A breaker must not count callers who leave: a crowd that gives up is no reason to open the gate.
func TestCallersWhoLeaveDoNotOpenTheGate(t *testing.T) {
	t.Parallel()
	b := setup(t, at(redistest.New(t).Addr))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 50 {
		b.Take(gone, fmt.Sprint("left ", i), lines("tea", 1))
	}
	if !b.Take(t.Context(), "stays", lines("tea", 11)).Refused() {
		t.Error("the gate stands open")
	}
}

func TestColdCounterIsLoadedOnceForAll(t *testing.T) {
	t.Parallel()
	b := setup(t, at(redistest.New(t).Addr))
	b.shelf.set("tea", 1000)
	var wg sync.WaitGroup
	for i := range 500 {
		wg.Go(func() { b.Take(t.Context(), fmt.Sprint(i), lines("tea", 1)) })
	}
	wg.Wait()
	b.want(t, "tea", 500)
	if n := b.shelf.asked.Load(); n > 100 {
		t.Errorf("500 orders asked the database %d times", n)
	}
}

func TestOffLetsEverythingThrough(t *testing.T) {
	t.Parallel()
	var off gate.Off
	if off.TakeAll(t.Context(), []gate.Asking{{Op: "a", Lines: lines("tea", 1000)}})[0].Refused() {
		t.Error("refused")
	}
}

func TestTheMasterIsFoundThroughASentinel(t *testing.T) {
	t.Parallel()
	master := redistest.New(t)
	cfg := at(redistest.NewSentinel(t, master, "floodgate").Addr)
	cfg.MasterName = "floodgate"
	b := setup(t, cfg)
	await(t, "the gate stands open", func() bool {
		return b.Take(t.Context(), fmt.Sprint(time.Now()), lines("tea", 11)).Refused()
	})
	if n, err := master.Client().Get(t.Context(), "stock:{tea}").Int(); err != nil || n != 10 {
		t.Errorf("the master's counter is %d, %v", n, err)
	}
}

func TestConfigComplains(t *testing.T) {
	t.Parallel()
	if bad := (gate.Config{Kind: "open"}).Check(); len(bad) != 1 || !strings.Contains(bad[0], "gate is") {
		t.Errorf("complaints %q, want one of the kind", bad)
	}
	for _, cfg := range []gate.Config{gate.Defaults(), {Kind: gate.KindOff}} {
		if bad := cfg.Check(); bad != nil {
			t.Errorf("%+v: %q", cfg, bad)
		}
	}
}
