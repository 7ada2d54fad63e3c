package items

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redistest"
)

// What was asked for before everything was forgotten is not kept: whoever forgets may have missed a change meanwhile.
func TestWhatWasAskedForBeforeIsNotKept(t *testing.T) {
	t.Parallel()
	b := newTruth(t)
	b.list(t, 1, 450, "tea")
	r := open(t, b, own(t)).run()
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

// A change is seen on the other replica as soon as it is told, and a look that began before it cannot bring the old one back,
// here or in Redis.
func TestALateFillNeverOverwritesWhatIsNewer(t *testing.T) {
	t.Parallel()
	b := newTruth(t)
	b.list(t, 1, 450, "tea")
	redis := own(t)
	writer, reader := open(t, b, redis).run(), open(t, b, redis).run()
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
			r := open(t, b, redistest.Hurried(server.Addr)).run()
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
	r := open(t, b, none)
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
	redis := redistest.New(t)
	r := open(t, b, redistest.Hurried(redis.Addr))
	if r.Ready(t.Context()) == nil {
		t.Error("it calls itself warm before it runs")
	}
	r.run()
	b.looked.Store(0)
	if got, looked := r.price("tea"), b.looked.Load(); got != 450 || looked > 0 {
		t.Errorf("tea costs %d after %d questions", got, looked)
	}
	redis.Stop()
	cold := open(t, b, redistest.Hurried(redis.Addr))
	cold.start()
	cold.await("it waits for a Redis that is away", func() bool { return cold.Ready(t.Context()) == nil })
}

// What can be sold of an item is not kept as long as the item.
func TestWhatCanBeSoldIsASecondOldAtMost(t *testing.T) {
	t.Parallel()
	b := newTruth(t)
	b.list(t, 1, 450, "tea")
	r := open(t, b, own(t)).run()
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

func BenchmarkItem(b *testing.B) {
	books := newTruth(b)
	books.list(b, 1, 450, "tea")
	r := open(b, books, own(b)).run()
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
