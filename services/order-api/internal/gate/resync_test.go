package gate_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/gate"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redistest"
)

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
