package outbox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

const (
	sweepEvery = time.Minute
	sweepBatch = 5000
)

// sweep deletes old rows until ctx ends. Relays take turns.
func (r *Relay) sweep(ctx context.Context) {
	for r.pause(ctx, sweepEvery/2+rand.N(sweepEvery), nil) {
		for {
			n, err := sweepOnce(ctx, r.DB, r.Config.Retention)
			if err != nil && ctx.Err() == nil {
				r.Log.WarnContext(ctx, "old events of the outbox were not deleted; the next try is in a minute", "error", err)
			}
			if n < sweepBatch {
				break
			}
		}
	}
}

// sweepOnce deletes at most a few thousand of the oldest rows, those that were sent and appended longer than retention ago.
// A row that was not sent stays, however old, and what lies behind it waits with it.
func sweepOnce(ctx context.Context, db *database.DB, retention time.Duration) (n int64, err error) {
	query := `DELETE FROM outbox WHERE id IN (SELECT o.id FROM outbox o WHERE o.id <= (SELECT sent FROM outbox_cursors)
		AND o.created_at < ` + db.Dialect.NowMS() + ` - $1 ORDER BY o.id LIMIT $2)`
	if db.Dialect == database.Postgres {
		// MATERIALIZED: the batch is bounded by the rows looked at, not only by those deleted.
		query = `WITH oldest AS MATERIALIZED (SELECT id, shard, xid, created_at FROM outbox ORDER BY id LIMIT $2)
			DELETE FROM outbox USING oldest o JOIN outbox_cursors c ON c.shard = o.shard
			WHERE outbox.id = o.id AND o.created_at < ` + db.Dialect.NowMS() + ` - $1 AND ` + sent
	}
	err = db.Tx(ctx, func(tx *database.Tx) error {
		n = 0
		if mine, err := sweeper(ctx, tx); err != nil || !mine {
			return err
		}
		res, err := tx.ExecContext(ctx, query, retention.Milliseconds(), sweepBatch)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("delete old events: %w", err)
	}
	return n, nil
}

// sweeper says whether tx is the only one that deletes now.
func sweeper(ctx context.Context, tx *database.Tx) (mine bool, err error) {
	if tx.Dialect == database.SQLite {
		return true, nil
	}
	err = tx.QueryRowContext(ctx, `SELECT pg_try_advisory_xact_lock($1, $2)`, lockClass, lockSweeper).Scan(&mine)
	return mine, err
}
