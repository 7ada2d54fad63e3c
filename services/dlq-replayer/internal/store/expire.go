package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/letter"
)

// Expiring is how many letters of a state go within the time asked for.
func (s Store) Expiring(ctx context.Context, retention, within time.Duration) (n int, err error) {
	err = s.DB.QueryRowContext(ctx, `SELECT count(*) FROM letters WHERE last_failed_at < (SELECT `+s.DB.Dialect.NowMS()+`) - $1 AND state IN ('dead', 'quarantined')`,
		(retention - within).Milliseconds()).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count letters that expire: %w", err)
	}
	return n, nil
}

// expireBatch bounds what one transaction of Expire deletes.
const expireBatch = 1000

// Expire deletes letters whose newest death is older than retention, with all that is known of them, and returns how many. Letters of open jobs stay. Each
// batch is told to the audit. Minutes of causes go after a day, whether letters do or not.
func (s Store) Expire(ctx context.Context, retention time.Duration) (total int, err error) {
	for {
		var n int
		err := s.DB.Tx(ctx, func(tx *database.Tx) (err error) {
			n, err = expireTx(ctx, tx, retention)
			return err
		})
		if err != nil {
			return total, fmt.Errorf("delete letters older than %s: %w", retention, err)
		}
		if total += n; n < expireBatch {
			return total, s.forgetMinutes(ctx)
		}
	}
}

func (s Store) forgetMinutes(ctx context.Context) error {
	_, err := s.DB.ExecContext(ctx, `DELETE FROM cause_minutes WHERE minute < (SELECT `+s.DB.Dialect.NowMS()+`) / 60000 - 1440`)
	if err != nil {
		return fmt.Errorf("forget the minutes of causes: %w", err)
	}
	return nil
}

func expireTx(ctx context.Context, tx *database.Tx, retention time.Duration) (int, error) {
	// Found by their age, locked by their ids, and looked at again: one that died anew while its lock was waited for stays.
	old := `last_failed_at < (SELECT ` + tx.Dialect.NowMS() + `) - $1 AND NOT EXISTS (SELECT 1 FROM job_letters o WHERE o.claim = `
	rows, err := tx.QueryContext(ctx, `SELECT l.id, l.state, l.cause FROM letters l WHERE l.id IN (
			SELECT e.id FROM letters e WHERE e.`+old+`e.id) ORDER BY e.last_failed_at LIMIT $2)
		AND l.`+old+`l.id) ORDER BY l.id`+tx.Dialect.ForUpdate(), retention.Milliseconds(), expireBatch)
	causes := map[string]*tally{}
	ids, err := database.Collect(rows, err, func(rows *sql.Rows) (id string, err error) {
		var state letter.State
		var cause string
		if err = rows.Scan(&id, &state, &cause); state == letter.Dead {
			if causes[cause] == nil {
				causes[cause] = &tally{id: cause}
			}
			causes[cause].dead--
		}
		return id, err
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	v := database.NewValues(database.Col("id", "text", ids))
	for _, from := range []string{"failures WHERE letter", "edits WHERE letter", "letters WHERE id"} {
		if _, err := tx.ExecValues(ctx, v, `DELETE FROM `+from+` IN (SELECT v.id FROM v)`); err != nil {
			return 0, err
		}
	}
	if len(causes) > 0 {
		if err := upsertCausesTx(ctx, tx, causes); err != nil {
			return 0, err
		}
	}
	return len(ids), auditTx(ctx, tx, Deed{"dlq-replayer", "expire", "letters", "older than " + retention.String(), map[string]int{"letters": len(ids)}})
}
