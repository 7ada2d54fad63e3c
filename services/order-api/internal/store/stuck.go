package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

const (
	// shipmentMade is the key under which the timeline keeps that logistics made the shipment.
	shipmentMade = "logistics/shipment-created"
	// stuckSample bounds how many orders one look at the stuck ones reads, the newest first.
	stuckSample = 5_000
	// stuckAfter is how long every step that needs no person may take.
	stuckAfter = time.Minute
	// stuckWithin is how far back a look goes.
	stuckWithin = 24 * time.Hour
)

// Stuck says how many orders wait for what should have come a minute ago, by why: created and not booked, paid and no
// shipment made of it, past its time and not expired. The first two are counted among the newest thousands of a day,
// found by their ids: an index on the status would make every move of every order dearer. Entries are counted because they
// are then looked up order by order: for NOT EXISTS Postgres reads the whole timeline, which only grows.
func (s *Store) Stuck(ctx context.Context) (map[string]int64, error) {
	now := time.Now()
	stuck := map[string]int64{"created": 0, "paid": 0, "overdue": 0}
	rows, err := s.db.QueryContext(ctx, `SELECT o.status, count(*) FROM (
			SELECT id, status FROM orders WHERE id >= $1 AND id < $2 ORDER BY id DESC LIMIT $3) o
		WHERE o.status = 'created' OR (o.status = 'paid' AND (
			SELECT count(*) FROM timeline t WHERE t.order_id = o.id AND t.key = $4) = 0)
		GROUP BY o.status`, firstID(now.Add(-stuckWithin)), firstID(now.Add(-stuckAfter)), stuckSample, shipmentMade)
	_, err = database.Collect(rows, err, func(rows *sql.Rows) (status string, err error) {
		var n int64
		err = rows.Scan(&status, &n)
		stuck[status] = n
		return status, err
	})
	if err != nil {
		return nil, fmt.Errorf("count stuck orders: %w", err)
	}
	var overdue int64
	err = s.db.QueryRowContext(ctx, `SELECT count(*) FROM (
		SELECT 1 FROM orders WHERE due_at <= (SELECT `+s.db.Dialect.NowMS()+`) - $1 LIMIT $2) o`,
		stuckAfter.Milliseconds(), stuckSample).Scan(&overdue)
	if err != nil {
		return nil, fmt.Errorf("count overdue orders: %w", err)
	}
	stuck["overdue"] = overdue
	return stuck, nil
}
