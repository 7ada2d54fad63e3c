package items

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Breakdown: one hot item that nobody has any more is asked for once, under a thousand requests at once.
func TestAHotItemIsAskedForOnce(t *testing.T) {
	t.Parallel()
	busy := func() { <-time.After(50 * time.Millisecond) }

	t.Run("WhichNobodyHasYet", func(t *testing.T) {
		t.Parallel()
		b := newTruth(t)
		b.list(t, 1, 450, "tea")
		r := open(t, b, own(t)).run()
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
		r := open(t, b, own(t), shortly).run()
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
		r := open(t, b, none)
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
	r := open(t, b, own(t)).run()
	r.Changed(t.Context(), skus...)
	r.await("Redis was not told", r.told)
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
			r := open(t, b, own(t), shortly).run()
			r.Changed(t.Context(), skus...)
			r.await("Redis was not told", r.told)
			if !kept {
				must(t, r.shared.redis.FlushAll(t.Context()).Err())
			}
			<-time.After(ended)
			b.asked()
			turn, began := r.turn.Load(), time.Now()
			r.everybody(10_000, func(i int) string { return skus[i] })
			asked := time.Now()
			r.await("not all are asked for anew", func() bool {
				old := slices.DeleteFunc(slices.Clone(skus), func(sku string) bool {
					e, _ := r.local.GetIfPresent(sku)
					return e.since.After(began)
				})
				// Customers come again: a replica that was deaf for a moment, on a busy machine, has forgotten all.
				if len(old) > 0 && time.Since(asked) > time.Second {
					r.everybody(len(old), func(i int) string { return old[i] })
					asked = time.Now()
				}
				return len(old) == 0
			})
			looked, counted := b.looked.Load(), b.counted.Load()
			forgotten := r.turn.Load() != turn
			t.Logf("the database was asked %d times for items and %d times for what remains; all was forgotten meanwhile: %v", looked, counted, forgotten)
			if kept && looked > 0 && !forgotten || looked > 2000 || counted > 2000 {
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
	r := open(t, b, own(t), func(c *Config) { c.LocalTTL = 50 * time.Millisecond }).run()
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
	r := open(t, b, own(t), shortly).run()
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
