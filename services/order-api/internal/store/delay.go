package store

import (
	"context"
	"time"
)

// DelayAccepts makes every transaction of Accept wait for d before its COMMIT, with its locks held, as a slow disk would.
// It is for trying what overload does; call it before the first Accept.
func (s *Store) DelayAccepts(d time.Duration) { s.delay = d }

// dawdle is that wait.
func (s *Store) dawdle(ctx context.Context) error {
	if s.delay <= 0 {
		return nil
	}
	timer := time.NewTimer(s.delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
