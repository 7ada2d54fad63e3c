package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/inventory/internal/stock"
)

// listed is an item as it stands.
type listed struct {
	item    stock.Item
	version int64
	retired bool
}

// PutItem lists the item, lists it again, or changes it, and says which version now stands. The same item again changes
// nothing.
func PutItem(ctx context.Context, db *database.DB, item stock.Item, by string) (version int64, err error) {
	err = db.Tx(ctx, func(tx *database.Tx) error {
		version, err = putItemTx(ctx, tx, item, by)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("put item %s: %w", item.SKU, err)
	}
	return version, nil
}

func putItemTx(ctx context.Context, tx *database.Tx, item stock.Item, by string) (int64, error) {
	made, err := tx.ExecContext(ctx, `INSERT INTO items
		(sku, version, name, unit_price_cents, currency, per_customer_limit, retired, changed_by, changed_at_ms)
		VALUES ($1, 0, '', 0, '', 0, true, $2, 0) ON CONFLICT DO NOTHING`, item.SKU, by)
	if err != nil {
		return 0, err
	}
	if n, err := made.RowsAffected(); err != nil {
		return 0, err
	} else if n == 1 {
		if _, err := tx.ExecContext(ctx, "INSERT INTO stock (sku) VALUES ($1)", item.SKU); err != nil {
			return 0, err
		}
	}
	now, err := lockItemTx(ctx, tx, item.SKU)
	if err != nil {
		return 0, err
	}
	if now.item == item && !now.retired {
		return now.version, nil
	}
	var atMS int64
	err = tx.QueryRowContext(ctx, `UPDATE items SET version = version + 1, name = $2, unit_price_cents = $3, currency = $4,
		per_customer_limit = $5, retired = false, changed_by = $6, changed_at_ms = `+tx.Dialect.NowMS()+`
		WHERE sku = $1 RETURNING version, changed_at_ms`,
		item.SKU, item.Name, int64(item.UnitPrice), item.Currency, item.PerCustomerLimit, by).Scan(&now.version, &atMS)
	if err != nil {
		return 0, err
	}
	return now.version, announceItemTx(ctx, tx, item, now.version, atMS)
}

// RetireItem stops the sale of the item and says which version now stands. A retired item stays as it is.
func RetireItem(ctx context.Context, db *database.DB, sku, by string) (version int64, err error) {
	err = db.Tx(ctx, func(tx *database.Tx) error {
		version, err = retireItemTx(ctx, tx, sku, by)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("retire item %s: %w", sku, err)
	}
	return version, nil
}

func retireItemTx(ctx context.Context, tx *database.Tx, sku, by string) (int64, error) {
	now, err := lockItemTx(ctx, tx, sku)
	if err != nil || now.retired {
		return now.version, err
	}
	var atMS int64
	err = tx.QueryRowContext(ctx, `UPDATE items SET version = version + 1, retired = true, changed_by = $2,
		changed_at_ms = `+tx.Dialect.NowMS()+` WHERE sku = $1 RETURNING version, changed_at_ms`,
		sku, by).Scan(&now.version, &atMS)
	if err != nil {
		return 0, err
	}
	return now.version, announceRetiredTx(ctx, tx, sku, now.version, atMS)
}

// lockItemTx reads the item and holds it, so that its versions are announced in their order.
func lockItemTx(ctx context.Context, tx *database.Tx, sku string) (now listed, err error) {
	now.item.SKU = sku
	err = tx.QueryRowContext(ctx, `SELECT version, name, unit_price_cents, currency, per_customer_limit, retired
		FROM items WHERE sku = $1`+tx.Dialect.ForUpdate(), sku).Scan(&now.version, &now.item.Name, &now.item.UnitPrice,
		&now.item.Currency, &now.item.PerCustomerLimit, &now.retired)
	if errors.Is(err, sql.ErrNoRows) {
		return now, fmt.Errorf("%w: %s", ErrUnknownItem, sku)
	}
	return now, err
}
