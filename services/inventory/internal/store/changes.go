package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/inventory/internal/stock"
)

// ChangeStock makes the change once and returns the levels as they then stand. The same request again returns them and
// changes nothing.
func ChangeStock(ctx context.Context, db *database.DB, c stock.Change) (levels stock.Levels, err error) {
	err = db.Tx(ctx, func(tx *database.Tx) error {
		levels, err = changeStockTx(ctx, tx, c)
		return err
	})
	if err != nil {
		return stock.Levels{}, fmt.Errorf("change the stock of %s: %w", c.SKU, err)
	}
	return levels, nil
}

// changeStockTx holds the item's stock before it looks the request up: of two that come together the second finds what
// the first did.
func changeStockTx(ctx context.Context, tx *database.Tx, c stock.Change) (stock.Levels, error) {
	levels, err := levels(tx.QueryRowContext(ctx, selectLevels+tx.Dialect.ForUpdate(), c.SKU), c.SKU)
	if err != nil {
		return levels, err
	}
	done := stock.Change{SKU: c.SKU, Request: c.Request}
	err = tx.QueryRowContext(ctx, "SELECT units, reason FROM changes WHERE sku = $1 AND request_id = $2",
		c.SKU, c.Request).Scan(&done.Units, &done.Reason)
	switch {
	case err == nil && !done.Is(c):
		return levels, fmt.Errorf("%w: %s was %+d units, %q", ErrOtherChange, c.Request, done.Units, done.Reason)
	case err == nil || !errors.Is(err, sql.ErrNoRows):
		return levels, err
	}
	effect, err := levels.Change(c.Units)
	if err != nil {
		return levels, err
	}
	return levels.Plus(effect), noteChangeTx(ctx, tx, c, effect)
}

func noteChangeTx(ctx context.Context, tx *database.Tx, c stock.Change, effect stock.Levels) error {
	var atMS int64
	err := tx.QueryRowContext(ctx, `INSERT INTO changes (sku, request_id, units, reason, asked_by, at_ms)
		VALUES ($1, $2, $3, $4, $5, `+tx.Dialect.NowMS()+`) RETURNING at_ms`,
		c.SKU, c.Request, int64(c.Units), c.Reason, c.By).Scan(&atMS)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE stock SET on_hand = on_hand + $2, granted_unsold = granted_unsold + $3,
		granted = granted + $4, revoked = revoked + $5 WHERE sku = $1`,
		c.SKU, int64(effect.OnHand), int64(effect.GrantedUnsold), int64(effect.Granted), int64(effect.Revoked))
	if err != nil {
		return err
	}
	return announceChangeTx(ctx, tx, c, effect, atMS)
}

// Levels counts the item's units.
func Levels(ctx context.Context, db *database.DB, sku string) (stock.Levels, error) {
	return levels(db.QueryRowContext(ctx, selectLevels, sku), sku)
}

const selectLevels = "SELECT on_hand, ungranted, granted_unsold, booked, granted, revoked FROM stock WHERE sku = $1"

func levels(row *sql.Row, sku string) (l stock.Levels, err error) {
	err = row.Scan(&l.OnHand, &l.Ungranted, &l.GrantedUnsold, &l.Booked, &l.Granted, &l.Revoked)
	if errors.Is(err, sql.ErrNoRows) {
		return l, fmt.Errorf("%w: %s", ErrUnknownItem, sku)
	}
	return l, err
}
