package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// Remaining is what can be sold of each sku that is for sale: listed and not retired.
func (s *Store) Remaining(ctx context.Context, skus []string) (map[string]int64, error) {
	remaining := make(map[string]int64, len(skus))
	if len(skus) == 0 {
		return remaining, nil
	}
	rows, err := s.db.QueryValues(ctx, database.NewValues(database.Col("sku_id", "text", skus)),
		`SELECT i.sku_id, COALESCE(a.remaining, 0) FROM items i LEFT JOIN allotments a ON a.sku_id = i.sku_id
			WHERE i.sku_id IN (SELECT v.sku_id FROM v) AND NOT i.retired`)
	_, err = database.Collect(rows, err, func(rows *sql.Rows) (sku string, err error) {
		var units int64
		err = rows.Scan(&sku, &units)
		remaining[sku] = units
		return sku, err
	})
	if err != nil {
		return nil, fmt.Errorf("read what remains of %d items: %w", len(skus), err)
	}
	return remaining, nil
}

// allotmentsTx locks the allotments of skus, in their order. A sku that never had one is missing in the answer.
func allotmentsTx(ctx context.Context, tx *database.Tx, skus []string) (map[string]*order.Allotment, error) {
	rows, err := tx.QueryValues(ctx, database.NewValues(database.Col("sku_id", "text", skus)), `
		SELECT a.sku_id, a.remaining, a.owed, a.granted, a.revoked FROM allotments a
		WHERE a.sku_id IN (SELECT v.sku_id FROM v) ORDER BY a.sku_id`+lockOf(tx, "a"))
	all, err := database.Collect(rows, err, func(rows *sql.Rows) (*order.Allotment, error) {
		var a order.Allotment
		return &a, rows.Scan(&a.SkuID, &a.Remaining, &a.Owed, &a.Granted, &a.Revoked)
	})
	if err != nil {
		return nil, fmt.Errorf("lock allotments: %w", err)
	}
	bySku := make(map[string]*order.Allotment, len(all))
	for _, a := range all {
		bySku[a.SkuID] = a
	}
	return bySku, nil
}

// changeAllotmentsTx locks the allotments of skus, changes each, and writes them. It answers by how much what can be sold
// has changed.
func changeAllotmentsTx(
	ctx context.Context, tx *database.Tx, skus []string, change func(*order.Allotment),
) (freed map[string]int64, err error) {
	allotments, err := allotmentsTx(ctx, tx, skus)
	if err != nil {
		return nil, err
	}
	freed = map[string]int64{}
	for sku, a := range allotments {
		before := a.Remaining
		change(a)
		if a.Remaining != before {
			freed[sku] = a.Remaining - before
		}
	}
	return freed, writeAllotmentsTx(ctx, tx, slices.Collect(maps.Values(allotments)))
}

func writeAllotmentsTx(ctx context.Context, tx *database.Tx, changed []*order.Allotment) error {
	if len(changed) == 0 {
		return nil
	}
	v := database.NewValues(
		field("sku_id", "text", changed, func(a *order.Allotment) string { return a.SkuID }),
		field("remaining", "bigint", changed, func(a *order.Allotment) int64 { return a.Remaining }),
		field("owed", "bigint", changed, func(a *order.Allotment) int64 { return a.Owed }),
		field("granted", "bigint", changed, func(a *order.Allotment) int64 { return a.Granted }),
		field("revoked", "bigint", changed, func(a *order.Allotment) int64 { return a.Revoked }))
	_, err := tx.ExecValues(ctx, v, `UPDATE allotments
		SET remaining = v.remaining, owed = v.owed, granted = v.granted, revoked = v.revoked
		FROM v WHERE allotments.sku_id = v.sku_id`)
	if err != nil {
		return fmt.Errorf("write allotments: %w", err)
	}
	return nil
}

// returnUnitsTx gives units back that an ended order held; what is owed is paid first.
func returnUnitsTx(ctx context.Context, tx *database.Tx, units map[string]int64) (freed map[string]int64, err error) {
	if len(units) == 0 {
		return nil, nil
	}
	return changeAllotmentsTx(ctx, tx, slices.Sorted(maps.Keys(units)), func(a *order.Allotment) { a.Return(units[a.SkuID]) })
}

// makeAllotmentsTx sees that each sku has an allotment, and locks them all in order.
func makeAllotmentsTx(ctx context.Context, tx *database.Tx, skus []string) error {
	_, err := tx.ExecValues(ctx, database.NewValues(database.Col("sku_id", "text", skus)),
		`INSERT INTO allotments (sku_id) SELECT v.sku_id FROM v WHERE true ORDER BY v.sku_id ON CONFLICT DO NOTHING`)
	if err != nil {
		return fmt.Errorf("make allotments: %w", err)
	}
	_, err = allotmentsTx(ctx, tx, skus)
	return err
}

// grantID names a grant or a revoke among all of both.
func grantID(f order.Fact) string { return string(f.Kind) + "/" + f.Grant.ID }

// grantTx applies those grants and revokes that were never seen. The allotments are locked.
func grantTx(ctx context.Context, tx *database.Tx, facts []order.Fact, applied *order.Applied) error {
	var asked []order.Fact
	for _, f := range facts {
		if f.Kind == order.UnitsGranted || f.Kind == order.UnitsRevoked {
			asked = append(asked, f)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	fresh, err := insertGrantsTx(ctx, tx, asked)
	if err != nil {
		return err
	}
	bySku := map[string][]order.Fact{}
	for i, f := range facts {
		if id := grantID(f); fresh[id] {
			delete(fresh, id) // the same grant again in this batch changes nothing
			applied.Changed[i] = true
			bySku[f.Grant.SkuID] = append(bySku[f.Grant.SkuID], f)
		}
	}
	if len(bySku) == 0 {
		return nil
	}
	freed, err := changeAllotmentsTx(ctx, tx, slices.Sorted(maps.Keys(bySku)), func(a *order.Allotment) {
		for _, f := range bySku[a.SkuID] {
			if f.Kind == order.UnitsGranted {
				a.Grant(f.Grant.Units)
			} else {
				a.Revoke(f.Grant.Units)
			}
		}
	})
	for sku, units := range freed {
		applied.Freed[sku] += units
	}
	return err
}

// insertGrantsTx remembers grants and revokes for good and answers which of them are new.
func insertGrantsTx(ctx context.Context, tx *database.Tx, facts []order.Fact) (map[string]bool, error) {
	facts = slices.Clone(facts)
	slices.SortStableFunc(facts, func(a, b order.Fact) int { return strings.Compare(grantID(a), grantID(b)) })
	v := database.NewValues(
		field("id", "text", facts, grantID),
		field("sku_id", "text", facts, func(f order.Fact) string { return f.Grant.SkuID }),
		field("units", "bigint", facts, func(f order.Fact) int64 {
			if f.Kind == order.UnitsRevoked {
				return -f.Grant.Units
			}
			return f.Grant.Units
		}))
	rows, err := tx.QueryValues(ctx, v, `INSERT INTO grants (id, sku_id, units) SELECT v.id, v.sku_id, v.units FROM v
		WHERE true ON CONFLICT DO NOTHING RETURNING id`)
	ids, err := database.Collect(rows, err, scanText)
	if err != nil {
		return nil, fmt.Errorf("remember %d grants: %w", len(facts), err)
	}
	fresh := make(map[string]bool, len(ids))
	for _, id := range ids {
		fresh[id] = true
	}
	return fresh, nil
}

func scanText(rows *sql.Rows) (text string, err error) {
	err = rows.Scan(&text)
	return text, err
}

// lockOf locks the rows of one table of a join.
func lockOf(tx *database.Tx, table string) string {
	if lock := tx.Dialect.ForUpdate(); lock != "" {
		return lock + " OF " + table
	}
	return ""
}
