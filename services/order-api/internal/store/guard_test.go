package store

import (
	"errors"
	"strings"
	"testing"
	"time"

	"gorm.io/gorm"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// TestGuard tries every way GORM has to write a status.
func TestGuard(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		if err := database.Migrate(ctx, db, Migrations, outbox.Migrations); err != nil {
			t.Fatal(err)
		}
		s, err := Open(db)
		if err != nil {
			t.Fatal(err)
		}
		id := "01990000-0000-7000-8000-000000000001"
		o := order.Order{ID: id, UserID: "ann", Status: order.Created, Payment: order.Deferred, CreatedAt: time.UnixMilli(1)}
		if err := db.Tx(ctx, func(tx *database.Tx) error { return tx.ExecAll(ctx, insertOrders([]sale{{Order: &o}})) }); err != nil {
			t.Fatal(err)
		}
		var ran bool
		watch := func(tx *gorm.DB) { ran = ran || tx.Statement.SQL.Len() > 0 }
		if err := s.gorm.Callback().Update().After("gorm:update").Register("watch", watch); err != nil {
			t.Fatal(err)
		}
		model := func() *gorm.DB { return s.orm(ctx).Model(&orderRow{ID: id}) }
		for name, write := range map[string]func() error{
			"Update":           func() error { return model().Update("status", "paid").Error },
			"Updates a map":    func() error { return model().Updates(map[string]any{"status": "paid", "reason": "x"}).Error },
			"Updates a struct": func() error { return model().Updates(orderRow{Status: "paid"}).Error },
			"Save": func() error {
				var row orderRow
				if err := s.orm(ctx).Take(&row, "id = ?", id).Error; err != nil {
					return err
				}
				row.Status = "paid"
				return s.orm(ctx).Save(&row).Error
			},
			"Select": func() error { return model().Select("status").Updates(orderRow{}).Error },
			"Expr":   func() error { return model().Update("status", gorm.Expr("'paid'")).Error },
		} {
			ran = false
			if err := write(); !errors.Is(err, errStatusWritten) {
				t.Errorf("%s: %v, want %v", name, err, errStatusWritten)
			}
			if strings.HasPrefix(name, "Update") && ran {
				t.Errorf("%s was refused only after it ran", name)
			}
			if got, err := s.Get(ctx, id); err != nil || got.Status != order.Created {
				t.Errorf("%s left the order %s, %v", name, got.Status, err)
			}
		}
		if err := model().Update("reason", "a note").Error; err != nil {
			t.Errorf("a column that is no status: %v", err)
		}
	})
}
