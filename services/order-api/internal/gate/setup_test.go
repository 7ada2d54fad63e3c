package gate_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
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
