package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

// republishBatch is how many ids one transaction looks through.
const republishBatch = 5000

// Republish appends the events that were appended since then once more, as they were, under their own ids and in their
// own order, so that the relay sends them again; consumers see that they applied them. Copies made by an earlier
// Republish are left out. It returns how many; after an error those of earlier batches are on their way.
func Republish(ctx context.Context, db *database.DB, since time.Time) (n int64, err error) {
	var next, last int64
	err = db.QueryRowContext(ctx, `SELECT coalesce(min(id), 1), coalesce(max(id), 0) FROM outbox`).Scan(&next, &last)
	for ; err == nil && next <= last; next += republishBatch {
		var copied int64
		copied, err = republish(ctx, db, since, next, min(next+republishBatch-1, last))
		n += copied
	}
	if err != nil {
		return n, fmt.Errorf("republish: %w", err)
	}
	return n, nil
}

// republish copies the rows whose ids are from first to last.
func republish(ctx context.Context, db *database.DB, since time.Time, first, last int64) (n int64, err error) {
	err = db.Tx(ctx, func(tx *database.Tx) error {
		res, err := tx.ExecContext(ctx, `
			INSERT INTO outbox (created_at, occurred_at, version, shard, copy, event_id, type, topic, key, value, headers,
				traceparent, tracestate)
			SELECT t.now, occurred_at, version, shard, true, event_id, type, topic, key, value, headers, traceparent, tracestate
			FROM outbox, (SELECT `+tx.Dialect.NowMS()+` AS now) t
			WHERE id BETWEEN $1 AND $2 AND created_at >= $3 AND NOT copy ORDER BY id`, first, last, since.UnixMilli())
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, err
}
