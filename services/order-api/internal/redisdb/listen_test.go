package redisdb_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/redisdb"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redistest"
)

// A listener hears, notices that its connection is dead although nobody closed it, hears again, and ends at once when it is told to.
func TestListen(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	client := redistest.Open(t, redistest.Hurried(server.Addr))
	ctx, cancel := context.WithCancel(t.Context())
	var connected, lost atomic.Int64
	heard := make(chan string, 10)
	var wg sync.WaitGroup
	wg.Go(func() {
		redisdb.Listen(ctx, client, "news", redisdb.Listener{
			Connected: func() { connected.Add(1) }, Lost: func(error) { lost.Add(1) }, Heard: func(word string) { heard <- word },
		})
	})
	await := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !ok(); <-time.After(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	await("it does not connect", func() bool { return connected.Load() == 1 })
	<-time.After(2500 * time.Millisecond) // silence is no loss
	if lost.Load() != 0 {
		t.Error("a quiet channel counts as lost")
	}
	if err := client.Publish(ctx, "news", "one").Err(); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != "one" {
		t.Errorf("heard %q", got)
	}
	server.Freeze()
	await("a frozen Redis is not noticed", func() bool { return lost.Load() > 0 })
	server.Thaw()
	await("it does not connect again", func() bool { return connected.Load() == 2 })
	began := time.Now()
	cancel()
	wg.Wait()
	if took := time.Since(began); took > 900*time.Millisecond {
		t.Errorf("it ended after %v", took)
	}
}
