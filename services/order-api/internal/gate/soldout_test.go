package gate_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/gate"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redistest"
)

func TestSoldOutIsRemembered(t *testing.T) {
	t.Parallel()

	t.Run("ForASecondAtMost", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			m := gate.NewSoldOut()
			m.Note(m.Turn(), map[string]int64{"tea": 2})
			if left := m.Short(lines("mug", 1, "tea", 3)); left["tea"] != 2 {
				t.Errorf("3 of 2 are not short: %v", left)
			}
			if left := m.Short(lines("tea", 2)); left != nil {
				t.Errorf("2 of 2 are called sold out: %v", left)
			}
			time.Sleep(time.Second) //nolint:forbidigo // the bubble's own clock
			if left := m.Short(lines("tea", 3)); left != nil {
				t.Errorf("it is remembered after a second: %v", left)
			}
		})
	})

	t.Run("UntilUnitsComeBack", func(t *testing.T) {
		t.Parallel()
		m := gate.NewSoldOut()
		m.Note(m.Turn(), map[string]int64{"tea": 0, "mug": 0})
		m.Forget("tea")
		if m.Short(lines("tea", 1)) != nil || m.Short(lines("mug", 1)) == nil {
			t.Error("the wrong sku was forgotten")
		}
	})

	t.Run("NotWhenUnitsCameBackWhileItWasAsked", func(t *testing.T) {
		t.Parallel()
		m := gate.NewSoldOut()
		turn := m.Turn() // a refusal is on its way
		m.Forget("tea")  // and units come back before it is heard
		m.Note(turn, map[string]int64{"tea": 0})
		if m.Short(lines("tea", 1)) != nil {
			t.Error("a refusal of before is remembered")
		}
	})
}

// Two replicas remember; one of them hears that units came back. The other sells them too, by what Redis tells it, and
// within a second where Redis tells nothing.
func TestUnitsThatComeBackAreSoldOnEveryReplica(t *testing.T) {
	t.Parallel()
	for _, heard := range []bool{true, false} {
		t.Run(fmt.Sprintf("told=%v", heard), func(t *testing.T) {
			t.Parallel()
			cfg := redistest.At(redistest.New(t).Addr)
			client := redistest.Open(t, cfg)
			log := slog.New(slog.NewTextHandler(io.Discard, nil))
			stock := &shelf{units: map[string]int64{"tea": 0}}
			var memories []*gate.SoldOut
			var gates []*gate.Counters
			for range 2 {
				m := gate.NewSoldOut()
				g, err := gate.New(gate.KindLua, redistest.Guard(t, client, cfg), stock, m, gate.Observers{Log: log, Meter: noop.NewMeterProvider()})
				if err != nil {
					t.Fatal(err)
				}
				memories, gates = append(memories, m), append(gates, g)
			}
			if heard {
				listen(t, memories[1], client, log)
			}
			for i, m := range memories {
				turn := m.Turn()
				ticket := one(t.Context(), gates[i], fmt.Sprint("early ", i), lines("tea", 1))
				if !ticket.Refused() {
					t.Fatal("a unit that is not there was sold")
				}
				m.Note(turn, ticket.Left)
				if m.Short(lines("tea", 1)) == nil {
					t.Fatal("nothing is remembered")
				}
			}
			stock.set("tea", 5)
			began, before := time.Now(), memories[1].Turn()
			gates[0].Changed(t.Context(), "tea")
			if memories[0].Short(lines("tea", 1)) != nil {
				t.Error("who was told still calls it sold out")
			}
			if heard {
				await(t, "the other replica is not told", func() bool { return memories[1].Turn() > before })
			}
			await(t, "the other replica does not sell what came back", func() bool { return memories[1].Short(lines("tea", 1)) == nil })
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("the other replica sold after %v", took)
			} else {
				t.Logf("after %v", took.Round(time.Millisecond))
			}
			if one(t.Context(), gates[1], "late", lines("tea", 1)).Refused() {
				t.Error("the counter does not know of the units")
			}
		})
	}
}

// remembering is a gate with a memory, and the memory.
func remembering(t *testing.T, b bundle) (*gate.Counters, *gate.SoldOut) {
	t.Helper()
	m := gate.NewSoldOut()
	g, err := gate.New(b.kind, redistest.Guard(t, b.redis, b.cfg), b.shelf, m, gate.Observers{Log: slog.New(slog.DiscardHandler), Meter: noop.NewMeterProvider()})
	if err != nil {
		t.Fatal(err)
	}
	return g, m
}

// What was refused is forgotten by whatever brings units back, each for itself.
func TestWhatBringsUnitsBackIsHeard(t *testing.T) {
	t.Parallel()
	refused := func(t *testing.T, g *gate.Counters, m *gate.SoldOut) {
		t.Helper()
		turn := m.Turn()
		ticket := one(t.Context(), g, fmt.Sprint("refused ", time.Now()), lines("tea", 11))
		m.Note(turn, ticket.Left)
		if m.Short(lines("tea", 11)) == nil {
			t.Fatal("nothing is remembered")
		}
	}

	t.Run("AGiveBack", func(t *testing.T) {
		t.Parallel()
		b := setup(t, at(redistest.New(t).Addr))
		g, m := remembering(t, b)
		held := one(t.Context(), g, "held", lines("tea", 1))
		refused(t, g, m)
		g.GiveBack(t.Context(), held)
		if m.Short(lines("tea", 11)) != nil {
			t.Error("a unit that was given back is not heard of")
		}
	})

	t.Run("AChangeWhileRedisIsAway", func(t *testing.T) {
		t.Parallel()
		server := redistest.New(t)
		b := setup(t, at(server.Addr))
		g, m := remembering(t, b)
		refused(t, g, m)
		server.Stop()
		g.Changed(t.Context(), "tea")
		if m.Short(lines("tea", 11)) != nil {
			t.Error("changed stock is not heard of while Redis is away")
		}
	})

	t.Run("TheResync", func(t *testing.T) {
		t.Parallel()
		b := setup(t, at(redistest.New(t).Addr))
		g, m := remembering(t, b)
		refused(t, g, m)
		if err := b.redis.Set(t.Context(), "stock:{tea}", 0, 0).Err(); err != nil {
			t.Fatal(err)
		}
		before := m.Turn()
		bundle{Counters: g}.run(t)
		b.eventually(t, "tea", 10)
		await(t, "units that the resync found are not heard of", func() bool { return m.Turn() > before })
	})
}

// listen has m listen until the test ends, and returns when it does.
func listen(t *testing.T, m *gate.SoldOut, client redis.UniversalClient, log *slog.Logger) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = m.Listen(ctx, client, log) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	await(t, "nobody listens", func() bool {
		return client.PubSubNumSub(ctx, "stock:changed").Val()["stock:changed"] > 0
	})
	before := m.Turn()
	await(t, "it does not hear", func() bool {
		client.Publish(ctx, "stock:changed", "other")
		return m.Turn() > before
	})
}

// Lines of one order share a round trip, and still all are taken or none.
func TestLinesAreTakenTogether(t *testing.T) {
	t.Parallel()
	each(t, "AllOrNone", func(t *testing.T, on ground) {
		t.Helper()
		b := setup(t, on)
		if b.Take(t.Context(), "a", lines("tea", 2, "mug", 2)).Refused() {
			t.Fatal("refused")
		}
		short := b.Take(t.Context(), "b", lines("mug", 3, "tea", 9))
		if !short.Refused() || short.Left["tea"] != 8 {
			t.Errorf("left %v, want 8 of tea", short.Left)
		}
		b.want(t, "tea", 8)
		b.want(t, "mug", 3)
		repeat := b.Take(t.Context(), "a", lines("tea", 2, "mug", 2))
		b.GiveBack(t.Context(), repeat)
		b.want(t, "tea", 8)
		if b.Take(t.Context(), "c", lines("mug", 3, "tea", 8)).Refused() {
			t.Error("what was given back cannot be had")
		}
	})
}

// A crowd before ten thousand cold counters asks the database a few dozen times.
func TestManyCountersAreLoadedTogether(t *testing.T) {
	t.Parallel()
	b := setup(t, at(redistest.New(t).Addr))
	const skus = 10_000
	for i := range skus {
		b.shelf.units[fmt.Sprint("sku ", i)] = 1
	}
	var wg sync.WaitGroup
	work := make(chan int)
	for range 64 {
		wg.Go(func() {
			for i := range work {
				if b.Take(t.Context(), fmt.Sprint("order ", i), lines(fmt.Sprint("sku ", i), 1)).Refused() {
					t.Errorf("sku %d is refused", i)
				}
			}
		})
	}
	for i := range skus {
		work <- i
	}
	close(work)
	wg.Wait()
	if asked := b.shelf.asked.Load(); asked > skus/8 {
		t.Errorf("%d counters were loaded by %d questions", skus, asked)
	} else {
		t.Logf("%d questions", asked)
	}
}
