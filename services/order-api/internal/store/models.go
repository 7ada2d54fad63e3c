package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// orderRow is an order as it lies in the table.
type orderRow struct {
	ID          string         `gorm:"column:id;primaryKey"`
	UserID      string         `gorm:"column:user_id"`
	Status      string         `gorm:"column:status"`
	Payment     string         `gorm:"column:payment"`
	PaymentRef  string         `gorm:"column:payment_ref"`
	HeldRef     string         `gorm:"column:held_ref"`
	TotalCents  int64          `gorm:"column:total_cents"`
	Currency    string         `gorm:"column:currency"`
	Reference   string         `gorm:"column:reference"`
	Metadata    string         `gorm:"column:metadata"`
	Version     int64          `gorm:"column:version"`
	CreatedAt   int64          `gorm:"column:created_at;autoCreateTime:false"`
	UpdatedAt   int64          `gorm:"column:updated_at;autoUpdateTime:false"`
	ExpiresAt   int64          `gorm:"column:expires_at"`
	DueAt       *int64         `gorm:"column:due_at"`
	Reason      string         `gorm:"column:reason"`
	PlacedBy    string         `gorm:"column:placed_by"`
	IdemKey     *string        `gorm:"column:idem_key"`
	Fingerprint string         `gorm:"column:fingerprint"`
	Live        bool           `gorm:"column:live"`
	DeletedAt   gorm.DeletedAt `gorm:"column:deleted_at"`
	Items       []itemRow      `gorm:"foreignKey:OrderID;references:ID"`

	NowMS int64 `gorm:"-"` // the database's clock, where a query asks for it
}

func (orderRow) TableName() string { return "orders" }

// orderColumns are what columns scans. Whether an order is hidden is the business of lists alone, which GORM reads.
const orderColumns = `o.id, o.user_id, o.status, o.payment, o.payment_ref, o.held_ref, o.total_cents, o.currency, o.reference,
	o.metadata, o.version, o.created_at, o.updated_at, o.expires_at, o.due_at, o.reason, o.placed_by, o.idem_key,
	o.fingerprint, o.live`

func (r *orderRow) columns() []any {
	return []any{
		&r.ID, &r.UserID, &r.Status, &r.Payment, &r.PaymentRef, &r.HeldRef, &r.TotalCents, &r.Currency, &r.Reference,
		&r.Metadata, &r.Version, &r.CreatedAt, &r.UpdatedAt, &r.ExpiresAt, &r.DueAt, &r.Reason, &r.PlacedBy, &r.IdemKey,
		&r.Fingerprint, &r.Live,
	}
}

// rowsInto scans orderColumns.
func rowsInto(rows *[]orderRow) func(database.Row) error {
	return func(row database.Row) error {
		var r orderRow
		err := row.Scan(r.columns()...)
		*rows = append(*rows, r)
		return err
	}
}

// errStatusWritten says that GORM was about to write a status, which moves.go alone may do.
var errStatusWritten = errors.New("an order's status is written by a move, never by GORM")

// BeforeUpdate refuses an update that would write the status, before it runs.
func (orderRow) BeforeUpdate(tx *gorm.DB) error {
	if tx.Statement.Changed("Status") {
		return errStatusWritten
	}
	return nil
}

// AfterUpdate looks at the statement that ran: what wrote a status by a way that BeforeUpdate cannot see (Save, Select)
// fails with its transaction.
func (orderRow) AfterUpdate(tx *gorm.DB) error {
	set := strings.NewReplacer("`", "", `"`, "").Replace(tx.Statement.SQL.String())
	set, _, _ = strings.Cut(set, " WHERE ")
	if strings.Contains(set, "status=") {
		return errStatusWritten
	}
	return nil
}

// itemRow is one line of an order.
type itemRow struct {
	OrderID        string `gorm:"column:order_id;primaryKey"`
	SkuID          string `gorm:"column:sku_id;primaryKey"`
	Quantity       int64  `gorm:"column:quantity"`
	UnitPriceCents int64  `gorm:"column:unit_price_cents"`
}

func (itemRow) TableName() string { return "order_items" }

// bySku keeps preloaded items in the order that orders show them in.
func bySku(db *gorm.DB) *gorm.DB { return db.Order("sku_id") }

// order is the row as the rules know it.
func (r orderRow) order() (order.Order, error) {
	o := order.Order{
		ID: r.ID, UserID: r.UserID, Status: order.Status(r.Status), Payment: order.PaymentMode(r.Payment),
		PaymentRef: r.PaymentRef, TotalCents: order.Cents(r.TotalCents), Currency: r.Currency, Reference: r.Reference,
		Version: r.Version, CreatedAt: moment(r.CreatedAt), UpdatedAt: moment(r.UpdatedAt), ExpiresAt: moment(r.ExpiresAt),
		Reason: r.Reason, By: r.PlacedBy,
	}
	if r.Metadata != "" {
		if err := json.Unmarshal([]byte(r.Metadata), &o.Metadata); err != nil {
			return order.Order{}, fmt.Errorf("read the metadata of order %s: %w", r.ID, err)
		}
	}
	for _, i := range r.Items {
		o.Items = append(o.Items, order.Item{SkuID: i.SkuID, Quantity: i.Quantity, UnitPriceCents: order.Cents(i.UnitPriceCents)})
	}
	return o, nil
}

// metadata is how a row keeps the shop's notes.
func metadata(m map[string]string) string {
	if len(m) == 0 {
		return ""
	}
	b, _ := json.Marshal(m) // a map of strings cannot fail
	return string(b)
}

// moment is a time as the tables keep it; 0 is none.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// ms is the inverse of moment.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// canonical is an order id as the tables keep it; no id that is malformed reaches a statement.
func canonical(id string) (string, bool) {
	if len(id) != 36 { // uuid.Parse takes other spellings, which nobody was given
		return "", false
	}
	u, err := uuid.Parse(id)
	if err != nil {
		return "", false
	}
	return u.String(), true
}

// scanned reads all rows of a query into structs by their column names, and closes it. rows and err are what the query
// answered.
func scanned[T any](s *Store, rows *sql.Rows, err error) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // its error is in rows.Err
	var all []T
	if rows.Next() { // ScanRows goes on from a row that was stepped to, to the last
		if err := s.gorm.ScanRows(rows, &all); err != nil {
			return nil, err
		}
	}
	return all, rows.Err()
}
