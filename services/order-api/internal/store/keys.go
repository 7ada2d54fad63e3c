package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// querier reads with Values, in a transaction or outside.
type querier interface {
	QueryValues(ctx context.Context, v database.Values, query string, args ...any) (*sql.Rows, error)
}

// LookupKeys answers drafts whose Idempotency-Key is bound already; nil for the others.
func (s *Store) LookupKeys(ctx context.Context, drafts []order.Draft) ([]*order.Verdict, error) {
	known, err := s.known(ctx, s.db, drafts)
	if err != nil {
		return nil, fmt.Errorf("look up %d keys: %w", len(drafts), err)
	}
	answers := make([]*order.Verdict, len(drafts))
	for i, d := range drafts {
		if k, ok := known[d.Claim()]; ok {
			v := k.Answer(d)
			answers[i] = &v
		}
	}
	return answers, nil
}

// Settle tells, after a COMMIT whose answer was lost, which drafts became orders. A nil verdict means that nothing
// stands, and the draft may be accepted again under its ID.
//
// It locks what Accept locked and only then looks: a plain look finds nothing while the lost COMMIT still runs.
func (s *Store) Settle(ctx context.Context, drafts []order.Draft) (settled []*order.Verdict, err error) {
	err = s.db.Tx(ctx, func(tx *database.Tx) error {
		settled = make([]*order.Verdict, len(drafts))
		if _, err := shelvesTx(ctx, tx, skusOf(drafts)); err != nil {
			return fmt.Errorf("lock allotments: %w", err)
		}
		ids := make([]string, len(drafts))
		for i, d := range drafts {
			ids[i] = d.ID
		}
		standing, err := s.ordersOf(ctx, tx, ids, "")
		if err != nil {
			return err
		}
		for i, d := range drafts {
			if row, ok := standing[d.ID]; ok {
				o, err := row.order()
				if err != nil {
					return err
				}
				settled[i] = &order.Verdict{Order: o.AsCreated()}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("settle %d orders: %w", len(drafts), err)
	}
	return settled, nil
}

// known finds the orders that the drafts' keys are bound to, hidden ones too. It asks nothing when no draft has a key.
func (s *Store) known(ctx context.Context, q querier, drafts []order.Draft) (map[order.Claim]order.Known, error) {
	var users, keys []string
	asked := make(map[order.Claim]bool, len(drafts))
	for _, d := range drafts {
		if claim := d.Claim(); d.Key != "" && !asked[claim] {
			asked[claim] = true
			users, keys = append(users, d.UserID), append(keys, d.Key)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	claims := database.NewValues(database.Col("user_id", "text", users), database.Col("idem_key", "text", keys))
	found, err := q.QueryValues(ctx, claims,
		`SELECT o.* FROM v JOIN orders o ON o.user_id = v.user_id AND o.idem_key = v.idem_key`)
	rows, err := scanned[orderRow](s, found, err)
	if err != nil {
		return nil, err
	}
	if err := s.fillItems(ctx, q, rows); err != nil {
		return nil, err
	}
	known := make(map[order.Claim]order.Known, len(rows))
	for _, row := range rows {
		o, err := row.order()
		if err != nil {
			return nil, err
		}
		known[order.Claim{UserID: row.UserID, Key: *row.IdemKey}] = order.Known{Order: o, Fingerprint: row.Fingerprint}
	}
	return known, nil
}

// ordersOf reads orders and their items by id. lock is "" or locks the rows, in the order of ids.
func (s *Store) ordersOf(ctx context.Context, q querier, ids []string, lock string) (map[string]orderRow, error) {
	valid := make([]string, 0, len(ids))
	for _, id := range ids {
		if id, ok := canonical(id); ok {
			valid = append(valid, id)
		}
	}
	if len(valid) == 0 {
		return nil, nil
	}
	found, err := q.QueryValues(ctx, database.NewValues(database.Col("id", "uuid", valid)),
		`SELECT o.*, `+s.db.Dialect.NowMS()+` AS now_ms FROM orders o WHERE o.id IN (SELECT v.id FROM v) ORDER BY o.id`+lock)
	rows, err := scanned[orderRow](s, found, err)
	if err != nil {
		return nil, fmt.Errorf("read %d orders: %w", len(valid), err)
	}
	if err := s.fillItems(ctx, q, rows); err != nil {
		return nil, err
	}
	byID := make(map[string]orderRow, len(rows))
	for _, row := range rows {
		byID[row.ID] = row
	}
	return byID, nil
}

// fillItems reads the items of all rows at once.
func (s *Store) fillItems(ctx context.Context, q querier, rows []orderRow) error {
	if len(rows) == 0 {
		return nil
	}
	ids, at := make([]string, len(rows)), make(map[string]int, len(rows))
	for i, row := range rows {
		ids[i], at[row.ID] = row.ID, i
	}
	found, err := q.QueryValues(ctx, database.NewValues(database.Col("id", "uuid", ids)),
		`SELECT i.* FROM v JOIN order_items i ON i.order_id = v.id ORDER BY i.order_id, i.sku_id`)
	items, err := scanned[itemRow](s, found, err)
	if err != nil {
		return fmt.Errorf("read the items of %d orders: %w", len(rows), err)
	}
	for _, i := range items {
		row := &rows[at[i.OrderID]]
		row.Items = append(row.Items, i)
	}
	return nil
}
