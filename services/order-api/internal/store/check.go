package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// CheckTx compares announced moves with the orders. Where they disagree, the order's true state is announced again under
// the id of that version's event; of a missing order there is nothing to announce.
func (s *Store) CheckTx(ctx context.Context, tx *database.Tx, announced []order.Announced) ([]order.Disagreement, error) {
	standing, err := standingTx(ctx, tx, announced)
	if err != nil {
		return nil, fmt.Errorf("check %d moves: %w", len(announced), err)
	}
	var doubted []string
	for _, a := range announced {
		id, _ := canonical(a.OrderID)
		if o, ok := standing[id]; ok && a.Compare(o) != "" {
			doubted = append(doubted, id)
		}
	}
	rows, err := s.ordersOf(ctx, tx, doubted, "")
	if err != nil {
		return nil, fmt.Errorf("read orders that disagree: %w", err)
	}
	var found []order.Disagreement
	var events []outbox.Event
	for _, a := range announced {
		id, _ := canonical(a.OrderID)
		if _, ok := standing[id]; !ok {
			found = append(found, order.Disagreement{Announced: a, Why: order.WhyMissing})
			continue
		}
		row, doubtful := rows[id]
		if !doubtful {
			continue
		}
		o, err := row.order()
		if err != nil {
			return nil, err
		}
		why := a.Compare(o)
		if why == "" {
			continue // history, or the order moved between the two questions
		}
		event, err := truthTx(ctx, tx, o)
		if err != nil {
			return nil, fmt.Errorf("announce order %s again: %w", o.ID, err)
		}
		events = append(events, event)
		found = append(found, order.Disagreement{Announced: a, Why: why, Repaired: true, Now: o.Status, At: o.Version})
	}
	if err := outbox.AppendTx(ctx, tx, events...); err != nil {
		return nil, fmt.Errorf("announce %d orders again: %w", len(events), err)
	}
	return found, nil
}

// standingTx reads how the announced orders stand: their states and versions, and nothing else of them, for as a rule all
// agree.
func standingTx(ctx context.Context, tx *database.Tx, announced []order.Announced) (map[string]order.Order, error) {
	ids := make([]string, 0, len(announced))
	for _, a := range announced {
		if id, ok := canonical(a.OrderID); ok {
			ids = append(ids, id)
		}
	}
	standing := make(map[string]order.Order, len(ids))
	err := tx.Ask(ctx, database.Ask("read states", database.NewValues(database.Col("id", "uuid", ids)),
		`SELECT o.id, o.status, o.version FROM orders o WHERE o.id IN (SELECT v.id FROM v)`, func(row database.Row) error {
			var o order.Order
			err := row.Scan(&o.ID, &o.Status, &o.Version)
			standing[o.ID] = o
			return err
		}))
	return standing, err
}

// truthTx is the event that announced the order's last move, or its creation, as it must have been.
func truthTx(ctx context.Context, tx *database.Tx, o order.Order) (outbox.Event, error) {
	if o.Version == 1 {
		return created(o)
	}
	made := map[string][2]string{}
	rows, err := tx.QueryContext(ctx, `SELECT key, what, by_whom FROM timeline WHERE order_id = $1 AND key IN ($2, $3)`,
		o.ID, moveKey(o.Version), moveKey(o.Version-1))
	_, err = database.Collect(rows, err, func(rows *sql.Rows) (key string, err error) {
		var what, by string
		err = rows.Scan(&key, &what, &by)
		made[key] = [2]string{what, by}
		return key, err
	})
	if err != nil {
		return outbox.Event{}, err
	}
	from := order.Created // version 1 has no entry: it stands in the order
	if before, ok := made[moveKey(o.Version-1)]; ok {
		from = order.Status(before[0])
	}
	return moved(order.Change{From: from, By: made[moveKey(o.Version)][1], Order: o})
}
