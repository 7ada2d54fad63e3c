package redisdb_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/redisdb"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redistest"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/shield"
)

// A frozen Redis costs a few visitors their patience; the others are told at once, and all are let in again when it is back.
func TestAFrozenRedisCostsAFew(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	cfg := redistest.Hurried(server.Addr)
	g := redistest.Guard(t, redistest.Open(t, cfg), cfg)
	ping := func(ctx context.Context) (string, error) { return g.Ping(ctx).Result() }
	if _, err := redisdb.Visit(t.Context(), g, ping); err != nil {
		t.Fatal(err)
	}
	server.Freeze()
	waited := 0
	for range 100 {
		_, err := redisdb.Visit(t.Context(), g, ping)
		if err == nil {
			t.Fatal("a frozen Redis answered")
		}
		if _, kept := errors.AsType[*shield.Blocked](err); !kept {
			waited++
		}
	}
	if waited > 15 { // five open the breaker, and one tries each second
		t.Errorf("%d of 100 waited for a Redis that is frozen", waited)
	}
	server.Thaw()
	for end := time.Now().Add(10 * time.Second); ; <-time.After(20 * time.Millisecond) {
		if _, err := redisdb.Visit(t.Context(), g, ping); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nobody is let in although Redis is back")
		}
	}
}
