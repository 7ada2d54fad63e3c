package store

import (
	"context"
	"fmt"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// asker asks the database, in a transaction or outside.
type asker interface {
	Ask(ctx context.Context, questions ...database.Question) error
}

// LookupKeys answers drafts whose Idempotency-Key is bound already; nil for the others.
func (s *Store) LookupKeys(ctx context.Context, drafts []order.Draft) ([]*order.Verdict, error) {
	var bound []orderRow
	err := s.db.Ask(ctx, rowsOfKeys(s.db.Dialect, drafts, &bound))
	var known map[order.Claim]order.Known
	if err == nil {
		known, err = knownOf(ctx, s.db, bound)
	}
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
		if err := tx.Ask(ctx, lockShelves(tx.Dialect, newState(), skusOf(drafts))); err != nil {
			return err
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

// rowsOfKeys finds the orders that the drafts' keys are bound to, hidden ones too. It asks nothing when no draft has a key.
//
// The index of keys has a collation of its own, so that no plan takes the one of a customer's orders instead, which grows
// with each order of his.
func rowsOfKeys(d database.Dialect, drafts []order.Draft, into *[]orderRow) database.Question {
	var users, keys []string
	asked := make(map[order.Claim]bool, len(drafts))
	for _, d := range drafts {
		if claim := d.Claim(); d.Key != "" && !asked[claim] {
			asked[claim] = true
			users, keys = append(users, d.UserID), append(keys, d.Key)
		}
	}
	claims := database.NewValues(database.Col("user_id", "text", users), database.Col("idem_key", "text", keys))
	query := `SELECT ` + orderColumns + ` FROM v CROSS JOIN LATERAL (SELECT * FROM orders o
		WHERE o.user_id COLLATE "C" = v.user_id AND o.idem_key COLLATE "C" = v.idem_key OFFSET 0) o`
	if d == database.SQLite {
		query = `SELECT ` + orderColumns + ` FROM v JOIN orders o ON o.user_id = v.user_id AND o.idem_key = v.idem_key`
	}
	return database.Ask("look up keys", claims, query, rowsInto(into))
}

// knownOf are the orders of rows as their keys know them.
func knownOf(ctx context.Context, q asker, rows []orderRow) (map[order.Claim]order.Known, error) {
	if err := fillItems(ctx, q, rows); err != nil {
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
func (s *Store) ordersOf(ctx context.Context, q asker, ids []string, lock string) (map[string]orderRow, error) {
	valid := make([]string, 0, len(ids))
	for _, id := range ids {
		if id, ok := canonical(id); ok {
			valid = append(valid, id)
		}
	}
	var rows []orderRow
	err := q.Ask(ctx, database.Ask("read orders", database.NewValues(database.Col("id", "uuid", valid)),
		`SELECT `+orderColumns+`, `+s.db.Dialect.NowMS()+` FROM orders o WHERE o.id IN (SELECT v.id FROM v) ORDER BY o.id`+lock,
		func(row database.Row) error {
			var r orderRow
			err := row.Scan(append(r.columns(), &r.NowMS)...)
			rows = append(rows, r)
			return err
		}))
	if err != nil {
		return nil, fmt.Errorf("%d of them: %w", len(valid), err)
	}
	if err := fillItems(ctx, q, rows); err != nil {
		return nil, err
	}
	byID := make(map[string]orderRow, len(rows))
	for _, row := range rows {
		byID[row.ID] = row
	}
	return byID, nil
}

// fillItems reads the items of all rows at once.
func fillItems(ctx context.Context, q asker, rows []orderRow) error {
	ids, at := make([]string, len(rows)), make(map[string]int, len(rows))
	for i, row := range rows {
		ids[i], at[row.ID] = row.ID, i
	}
	return q.Ask(ctx, database.Ask("read items of orders", database.NewValues(database.Col("id", "uuid", ids)),
		`SELECT i.order_id, i.sku_id, i.quantity, i.unit_price_cents
		FROM v JOIN order_items i ON i.order_id = v.id ORDER BY i.order_id, i.sku_id`, func(row database.Row) error {
			var i itemRow
			err := row.Scan(&i.OrderID, &i.SkuID, &i.Quantity, &i.UnitPriceCents)
			if err != nil {
				return err
			}
			of := &rows[at[i.OrderID]]
			of.Items = append(of.Items, i)
			return nil
		}))
}
