// Package batch writes the rows of orders in the ways that one would think of, to be measured beside group commit: an order,
// its line, its payment, its event, and the unit it takes.
package batch

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

type order struct {
	ID          string `gorm:"primaryKey"`
	UserID      string
	Status      string
	Payment     string
	HeldRef     string
	TotalCents  int64
	Currency    string
	Reference   string
	Metadata    string
	Version     int64
	CreatedAt   int64
	UpdatedAt   int64
	ExpiresAt   int64
	PlacedBy    string
	IdemKey     string
	Fingerprint string
}

type orderItem struct {
	OrderID        string `gorm:"primaryKey"`
	SkuID          string `gorm:"primaryKey"`
	Quantity       int64
	UnitPriceCents int64
}

type payment struct {
	OrderID     string `gorm:"primaryKey"`
	PaymentRef  string `gorm:"primaryKey"`
	State       string
	AmountCents int64
	Currency    string
	At          int64
}

// event has no primary key: Postgres numbers the rows, and nobody here asks for the numbers.
type event struct {
	CreatedAt, OccurredAt, Version int64
	Shard                          int16
	Copy                           bool
	EventID, Type, Topic           string
	Key, Value, Headers            []byte
	Traceparent, Tracestate        string
}

func (event) TableName() string { return "outbox" }

// Rows are n orders of one unit of one sku, with all that belongs to them.
type Rows struct {
	sku      string
	orders   []order
	items    []orderItem
	payments []payment
	events   []event
}

// New makes n orders that were never written.
func New(n int, sku string) Rows {
	r := Rows{sku: sku}
	for i := range n {
		id, user := uuid.Must(uuid.NewV7()).String(), fmt.Sprint("customer-", i)
		r.orders = append(r.orders, order{
			ID: id, UserID: user, Status: "created", Payment: "captured", HeldRef: "captured", TotalCents: 450, Currency: "EUR", Version: 1,
			CreatedAt: 1, UpdatedAt: 1, PlacedBy: user, IdemKey: id, Fingerprint: "what was wanted",
		})
		r.items = append(r.items, orderItem{id, sku, 1, 450})
		r.payments = append(r.payments, payment{id, "captured", "held", 450, "EUR", 1})
		r.events = append(r.events, event{
			CreatedAt: 1, OccurredAt: 1, Version: 1, EventID: "order/" + id + "/1", Type: "floodgate.order.v1.OrderCreated", Topic: "order_created",
			Key: []byte(id), Value: make([]byte, 150), Headers: []byte{},
		})
	}
	return r
}

func (r Rows) part(from, to int) Rows {
	return Rows{r.sku, r.orders[from:to], r.items[from:to], r.payments[from:to], r.events[from:to]}
}

// OpenGORM opens a database for the ways that GORM has.
func OpenGORM(db *sql.DB) (*gorm.DB, error) {
	return gorm.Open(postgres.New(postgres.Config{Conn: db}), &gorm.Config{Logger: logger.Discard, SkipDefaultTransaction: true})
}

// OneByOne writes each order in a transaction of its own, a Create for each row.
func OneByOne(ctx context.Context, db *gorm.DB, r Rows) error {
	for i := range r.orders {
		if err := InBatches(ctx, db, r.part(i, i+1), 1); err != nil {
			return err
		}
	}
	return nil
}

// InBatches writes all orders in one transaction, many rows of a table in one statement.
func InBatches(ctx context.Context, db *gorm.DB, r Rows, size int) error {
	return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		for _, rows := range []any{r.orders, r.items, r.payments, r.events} {
			if err := tx.CreateInBatches(rows, size).Error; err != nil {
				return fmt.Errorf("create: %w", err)
			}
		}
		return tx.Table("allotments").Where("sku_id = ? AND remaining >= ?", r.sku, len(r.orders)).
			Update("remaining", gorm.Expr("remaining - ?", len(r.orders))).Error
	})
}

// OneExec writes all orders in one transaction, all rows of a table in one statement: an array for each column.
func OneExec(ctx context.Context, db *database.DB, r Rows) error {
	return db.Tx(ctx, func(tx *database.Tx) error {
		for _, write := range []struct {
			into    string
			columns []database.Column
		}{
			{"orders (id, user_id, status, payment, held_ref, total_cents, currency, reference, metadata, version, created_at, updated_at, expires_at, placed_by, idem_key, fingerprint)", []database.Column{
				col(r.orders, "id", "uuid", func(o order) string { return o.ID }),
				col(r.orders, "user_id", "text", func(o order) string { return o.UserID }),
				col(r.orders, "status", "text", func(o order) string { return o.Status }),
				col(r.orders, "payment", "text", func(o order) string { return o.Payment }),
				col(r.orders, "held_ref", "text", func(o order) string { return o.HeldRef }),
				col(r.orders, "total_cents", "bigint", func(o order) int64 { return o.TotalCents }),
				col(r.orders, "currency", "text", func(o order) string { return o.Currency }),
				col(r.orders, "reference", "text", func(o order) string { return o.Reference }),
				col(r.orders, "metadata", "text", func(o order) string { return o.Metadata }),
				col(r.orders, "version", "bigint", func(o order) int64 { return o.Version }),
				col(r.orders, "created_at", "bigint", func(o order) int64 { return o.CreatedAt }),
				col(r.orders, "updated_at", "bigint", func(o order) int64 { return o.UpdatedAt }),
				col(r.orders, "expires_at", "bigint", func(o order) int64 { return o.ExpiresAt }),
				col(r.orders, "placed_by", "text", func(o order) string { return o.PlacedBy }),
				col(r.orders, "idem_key", "text", func(o order) string { return o.IdemKey }),
				col(r.orders, "fingerprint", "text", func(o order) string { return o.Fingerprint }),
			}},
			{"order_items (order_id, sku_id, quantity, unit_price_cents)", []database.Column{
				col(r.items, "order_id", "uuid", func(i orderItem) string { return i.OrderID }),
				col(r.items, "sku_id", "text", func(i orderItem) string { return i.SkuID }),
				col(r.items, "quantity", "bigint", func(i orderItem) int64 { return i.Quantity }),
				col(r.items, "unit_price_cents", "bigint", func(i orderItem) int64 { return i.UnitPriceCents }),
			}},
			{"payments (order_id, payment_ref, state, amount_cents, currency, at)", []database.Column{
				col(r.payments, "order_id", "uuid", func(p payment) string { return p.OrderID }),
				col(r.payments, "payment_ref", "text", func(p payment) string { return p.PaymentRef }),
				col(r.payments, "state", "text", func(p payment) string { return p.State }),
				col(r.payments, "amount_cents", "bigint", func(p payment) int64 { return p.AmountCents }),
				col(r.payments, "currency", "text", func(p payment) string { return p.Currency }),
				col(r.payments, "at", "bigint", func(p payment) int64 { return p.At }),
			}},
			{"outbox (created_at, occurred_at, version, shard, copy, event_id, type, topic, key, value, headers, traceparent, tracestate)", []database.Column{
				col(r.events, "created_at", "bigint", func(e event) int64 { return e.CreatedAt }),
				col(r.events, "occurred_at", "bigint", func(e event) int64 { return e.OccurredAt }),
				col(r.events, "version", "bigint", func(e event) int64 { return e.Version }),
				col(r.events, "shard", "smallint", func(e event) int16 { return e.Shard }),
				col(r.events, "copy", "boolean", func(e event) bool { return e.Copy }),
				col(r.events, "event_id", "text", func(e event) string { return e.EventID }),
				col(r.events, "type", "text", func(e event) string { return e.Type }),
				col(r.events, "topic", "text", func(e event) string { return e.Topic }),
				col(r.events, "key", "bytea", func(e event) []byte { return e.Key }),
				col(r.events, "value", "bytea", func(e event) []byte { return e.Value }),
				col(r.events, "headers", "bytea", func(e event) []byte { return e.Headers }),
				col(r.events, "traceparent", "text", func(e event) string { return e.Traceparent }),
				col(r.events, "tracestate", "text", func(e event) string { return e.Tracestate }),
			}},
		} {
			if _, err := tx.ExecValues(ctx, database.NewValues(write.columns...), "INSERT INTO "+write.into+" SELECT * FROM v"); err != nil {
				return fmt.Errorf("insert into %s: %w", write.into, err)
			}
		}
		_, err := tx.ExecContext(ctx, `UPDATE allotments SET remaining = remaining - $2 WHERE sku_id = $1 AND remaining >= $2`, r.sku, len(r.orders))
		return err
	})
}

func col[R, T any](rows []R, name, typ string, of func(R) T) database.Column {
	elems := make([]T, 0, len(rows))
	for row := range slices.Values(rows) {
		elems = append(elems, of(row))
	}
	return database.Col(name, typ, elems)
}
