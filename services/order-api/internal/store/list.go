package store

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"gorm.io/gorm"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// Get is one order, hidden or not. A malformed and a missing id answer alike.
func (s *Store) Get(ctx context.Context, id string) (order.Order, error) {
	id, ok := canonical(id)
	if !ok {
		return order.Order{}, order.Missing()
	}
	var row orderRow
	err := s.orm(ctx).Unscoped().Preload("Items", bySku).Take(&row, "id = ?", id).Error
	switch {
	case errors.Is(err, gorm.ErrRecordNotFound):
		return order.Order{}, order.Missing()
	case err != nil:
		return order.Order{}, fmt.Errorf("get order %s: %w", id, err)
	}
	return row.order()
}

// Query asks for one page of a user's orders.
type Query struct {
	UserID string
	Status order.Status // "" for all
	Limit  int
	Cursor string // "" for the first page
}

// List is a page, newest first, and the cursor of the next one, "" for none. A page costs the same at any depth: it is
// found by where the last one ended, and its items are read at once.
func (s *Store) List(ctx context.Context, q Query) (page []order.Order, next string, err error) {
	find := s.orm(ctx).Where("user_id = ?", q.UserID)
	if q.Status != "" {
		find = find.Where("status = ?", string(q.Status))
	}
	if q.Cursor != "" {
		at, id, err := orderCursor(q.Cursor)
		if err != nil {
			return nil, "", err
		}
		find = find.Where("(created_at, id) < (?, ?)", at, id)
	}
	var rows []orderRow
	if err := find.Order("created_at DESC, id DESC").Limit(q.Limit+1).Preload("Items", bySku).Find(&rows).Error; err != nil {
		return nil, "", fmt.Errorf("list orders: %w", err)
	}
	if len(rows) > q.Limit {
		rows = rows[:q.Limit]
		last := rows[q.Limit-1]
		next = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%s", last.CreatedAt, last.ID))
	}
	for _, row := range rows {
		o, err := row.order()
		if err != nil {
			return nil, "", err
		}
		page = append(page, o)
	}
	return page, next, nil
}

// orderCursor is the order that a page begins after.
func orderCursor(cursor string) (at int64, id string, err error) {
	text, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil {
		return 0, "", badCursor()
	}
	before, after, _ := strings.Cut(string(text), ".")
	at, err = strconv.ParseInt(before, 10, 64)
	id, ok := canonical(after)
	if err != nil || !ok {
		return 0, "", badCursor()
	}
	return at, id, nil
}

func badCursor() error {
	return &order.Error{Code: order.Malformed, Message: "the cursor is none that was given out: leave it out to begin at the first page"}
}

// Hide takes an ended order out of its owner's lists. Hiding it again is no error.
func (s *Store) Hide(ctx context.Context, id string) error {
	id, ok := canonical(id)
	if !ok {
		return order.Missing()
	}
	err := s.db.Tx(ctx, func(tx *database.Tx) error {
		w, err := s.lockTx(ctx, tx, []string{id})
		if err != nil {
			return err
		}
		o := w.orders[id]
		if o == nil {
			return order.Missing()
		}
		if !o.Status.Ended() {
			return o.NotEnded()
		}
		return s.ormTx(ctx, tx).Delete(&orderRow{}, "id = ?", id).Error
	})
	if err != nil {
		return fmt.Errorf("hide order %s: %w", id, err)
	}
	return nil
}
