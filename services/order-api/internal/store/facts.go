package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// ApplyTx applies what other services said, in any order and any number of times. A fact about an order that does not
// exist fails with *order.Error NotFound; nothing of the batch may stand then.
func (s *Store) ApplyTx(ctx context.Context, tx *database.Tx, facts []order.Fact) (order.Applied, error) {
	for _, f := range facts {
		if err := f.Check(); err != nil {
			return order.Applied{}, err
		}
	}
	applied := order.Applied{Changed: make([]bool, len(facts)), Freed: map[string]int64{}}
	if err := s.applyToOrdersTx(ctx, tx, facts, &applied); err != nil {
		return order.Applied{}, fmt.Errorf("apply facts to orders: %w", err)
	}
	if err := applyToStockTx(ctx, tx, facts, &applied); err != nil {
		return order.Applied{}, fmt.Errorf("apply facts to stock: %w", err)
	}
	return applied, nil
}

// entryKey names an entry among those of all orders.
type entryKey struct{ order, key string }

// applyToOrdersTx locks every order that the facts are about and makes the moves that follow.
func (s *Store) applyToOrdersTx(ctx context.Context, tx *database.Tx, facts []order.Fact, applied *order.Applied) error {
	var noted, moving []string
	for _, f := range facts {
		switch {
		case f.Kind == order.Noted:
			noted = append(noted, f.Entry.OrderID)
		case f.AboutOrder():
			moving = append(moving, f.Entry.OrderID)
		}
	}
	if len(noted)+len(moving) == 0 {
		return nil
	}
	w, err := s.lockForTx(ctx, tx, noted, moving)
	if err != nil {
		return err
	}
	for i, f := range facts {
		if !f.AboutOrder() {
			continue
		}
		id, _ := canonical(f.Entry.OrderID)
		o := w.orders[id]
		if o == nil {
			return fmt.Errorf("order %q: %w", f.Entry.OrderID, order.Missing())
		}
		version := o.Version
		if err := w.apply(o, f); err != nil {
			return fmt.Errorf("order %s: %w", id, err)
		}
		applied.Changed[i] = o.Version > version
	}
	fresh, _, err := w.writeTx(ctx, tx)
	if err != nil {
		return err
	}
	for i, f := range facts {
		if id, _ := canonical(f.Entry.OrderID); fresh[entryKey{id, f.Entry.Key}] {
			delete(fresh, entryKey{id, f.Entry.Key}) // told twice in one batch, it changed something once
			applied.Changed[i] = true
		}
	}
	return nil
}

// lockForTx locks orders, all in one order by id, and reads those that may move. Of the others only their being there
// matters: what is noted of them needs the lock, for the timeline's order, and nothing else.
func (s *Store) lockForTx(ctx context.Context, tx *database.Tx, noted, moving []string) (*work, error) {
	if len(noted) == 0 {
		return s.lockTx(ctx, tx, moving)
	}
	var ids, there []string
	for _, id := range slices.Concat(noted, moving) {
		if id, ok := canonical(id); ok {
			ids = append(ids, id)
		}
	}
	err := tx.Ask(ctx, database.Ask("lock orders", database.NewValues(database.Col("id", "uuid", ids)),
		`SELECT o.id FROM orders o WHERE o.id IN (SELECT v.id FROM v) ORDER BY o.id`+tx.Dialect.ForUpdate(), func(row database.Row) error {
			var id string
			err := row.Scan(&id)
			there = append(there, id)
			return err
		}))
	if err != nil {
		return nil, err
	}
	w, err := s.readTx(ctx, tx, moving, "")
	if err != nil {
		return nil, err
	}
	for _, id := range there {
		if w.orders[id] == nil {
			w.orders[id] = &locked{Order: order.Order{ID: id}}
		}
	}
	return w, nil
}

// apply makes the moves that f implies and o has not made: goods that arrived were shipped before. An order that has
// ended stays so.
func (w *work) apply(o *locked, f order.Fact) error {
	f.Entry.OrderID = o.ID
	w.entries = append(w.entries, f.Entry)
	for _, to := range o.Follows(f.Kind, o.held) {
		if err := w.move(o, to, f.By(), ""); err != nil {
			return err
		}
	}
	return nil
}

// applyToStockTx locks the allotments of every sku that the facts are about, then applies grants and items.
func applyToStockTx(ctx context.Context, tx *database.Tx, facts []order.Fact, applied *order.Applied) error {
	seen := map[string]bool{}
	var skus []string
	for _, f := range facts {
		if sku := f.Sku(); sku != "" && !seen[sku] {
			seen[sku] = true
			skus = append(skus, sku)
		}
	}
	if len(skus) == 0 {
		return nil
	}
	if err := makeAllotmentsTx(ctx, tx, skus); err != nil {
		return err
	}
	if err := listItemsTx(ctx, tx, skus, facts, applied); err != nil {
		return err
	}
	return grantTx(ctx, tx, facts, applied)
}
