package outbox

import (
	"context"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

// sqlite reads by id: writers are serial there, so ids are in commit order and one number is the cursor.
type sqlite struct {
	relay    *Relay
	db       *database.DB
	measured time.Time
}

func openSQLite(r *Relay) *sqlite { return &sqlite{relay: r, db: r.DB} }

func (s *sqlite) look(ctx context.Context) ([]lane, error) {
	var at position
	err := s.db.QueryRowContext(ctx, `SELECT c.sent, (SELECT coalesce(max(id), 0) FROM outbox) FROM outbox_cursors c`).Scan(&at.after, &at.high)
	if err != nil || at.high <= at.after {
		return nil, err
	}
	return []lane{{shards: []int16{0}, at: at}}, nil
}

func (s *sqlite) read(ctx context.Context, l lane, limit int) ([]row, error) {
	rows, err := s.db.QueryContext(ctx, pageOf("id > $3"), limit, maxPageBytes, l.at.after)
	return database.Collect(rows, err, scan)
}

func (s *sqlite) advance(ctx context.Context, l lane, page []row) error {
	if len(page) == 0 {
		return nil
	}
	return s.db.Tx(ctx, func(tx *database.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE outbox_cursors SET sent = $1 WHERE sent = $2`, page[len(page)-1].id, l.at.after)
		return err
	})
}

func (s *sqlite) tend(ctx context.Context) error {
	if time.Since(s.measured) < measureEvery {
		return nil
	}
	s.measured = time.Now()
	var b backlog
	err := s.db.QueryRowContext(ctx, `SELECT count(*), coalesce(`+database.SQLite.NowMS()+` - min(created_at), 0)
		FROM outbox WHERE id > (SELECT sent FROM outbox_cursors)`).Scan(&b.rows, &b.ageMS)
	if err == nil {
		s.relay.meters.measured(ctx, b)
	}
	return err
}

func (s *sqlite) alive(context.Context) error { return nil }

func (s *sqlite) close() {}
