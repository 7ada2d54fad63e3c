package dlqreplayer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/store"
)

// How often the driver looks: at jobs that are under way, and for such.
const (
	beat = 50 * time.Millisecond
	rest = 250 * time.Millisecond
)

// driver moves jobs along. All it knows is in the database: it may be killed at any time, and replicas may drive the same
// jobs, each step of which is a transaction that holds the job's row.
type driver struct {
	store store.Store
	drive store.Drive
	sent  func() // something is in the outbox
	log   *slog.Logger
}

// Run drives until ctx ends; nil then. What fails, such as a database that is away, is tried again.
func (d driver) Run(ctx context.Context) error {
	var failing bool
	for pause := beat; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		open, err := d.step(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			d.log.WarnContext(ctx, "jobs do not move", "error", err)
		}
		if failing = err != nil; failing || open == 0 {
			pause = rest
		} else {
			pause = beat
		}
	}
}

// step moves every open job once.
func (d driver) step(ctx context.Context) (open int, err error) {
	ids, err := d.store.OpenJobs(ctx)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		n, failed := d.store.Advance(ctx, id, d.drive)
		err = errors.Join(err, failed)
		if n > 0 {
			d.sent()
		}
	}
	return len(ids), err
}

// expire deletes what is older than the retention, and says what soon will be.
type expire struct {
	store     store.Store
	retention time.Duration
	warning   time.Duration
	log       *slog.Logger
}

// Run looks at once and every hour until ctx ends; nil then.
func (e expire) Run(ctx context.Context) error {
	for pause := time.Duration(0); ; pause = time.Hour {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if err := e.once(ctx); err != nil && ctx.Err() == nil {
			e.log.WarnContext(ctx, "letters are not expired", "error", err)
		}
	}
}

func (e expire) once(ctx context.Context) error {
	soon, err := e.store.Expiring(ctx, e.retention, e.warning)
	if err != nil {
		return err
	}
	if soon > 0 {
		e.log.WarnContext(ctx, "letters will be deleted for their age: replay, export or discard them, or raise DLQ_REPLAYER_RETENTION",
			"letters", soon, "within", e.warning.String(), "retention", e.retention.String())
	}
	gone, err := e.store.Expire(ctx, e.retention)
	if gone > 0 {
		e.log.InfoContext(ctx, "letters were deleted for their age", "letters", gone, "retention", e.retention.String())
	}
	return err
}
