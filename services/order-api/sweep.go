package orderapi

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

const (
	sweepEvery = time.Second
	sweepBatch = 200
)

// sweeper cancels deferred orders whose money did not come, by the database's clock. Every replica has one: what one
// holds the others pass by.
type sweeper struct {
	expire  func(ctx context.Context, limit int) ([]order.Order, map[string]int64, error)
	changed func(ctx context.Context, skus ...string) // the gate
	wake    func()                                    // the relay
	log     *slog.Logger
}

// run sweeps until ctx ends. A database that is away is waited for.
func (s sweeper) run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for more := true; more && ctx.Err() == nil; {
			more = s.sweep(ctx)
		}
	}
}

// sweep expires one batch and says whether there may be another.
func (s sweeper) sweep(ctx context.Context) (more bool) {
	expired, freed, err := s.expire(ctx, sweepBatch)
	if err != nil {
		if ctx.Err() == nil {
			s.log.WarnContext(ctx, "unpaid orders wait for the next sweep", "error", err)
		}
		return false
	}
	if len(expired) > 0 {
		s.wake()
	}
	if len(freed) > 0 {
		s.changed(ctx, slices.Collect(maps.Keys(freed))...)
	}
	return len(expired) == sweepBatch
}
