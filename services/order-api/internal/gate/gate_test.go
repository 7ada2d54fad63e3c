package gate_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/gate"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redistest"
)

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
