package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/services/inventory/internal/stock"
	"github.com/floodgate-dev/floodgate/services/inventory/internal/store"
)

// TestPlansOfAFullWarehouse learns how Postgres runs what inventory does all day, on full tables.
func TestPlansOfAFullWarehouse(t *testing.T) {
	t.Parallel()
	p := servertest.NewPlans(t, "inventory")
	p.Fill([]database.Migrations{store.Migrations, outbox.Migrations}, `
		INSERT INTO items SELECT 'sku-' || n, 1, 'Tea', 450, 'EUR', 0, false, 'x', 0 FROM generate_series(1, 100000) n;
		INSERT INTO stock SELECT 'sku-' || n, 1001, 0, 1000, 1, 1001, 0 FROM generate_series(1, 100000) n;
		INSERT INTO changes SELECT 'sku-' || n, 'first', 1001, '', 'x', 0 FROM generate_series(1, 100000) n;
		INSERT INTO bookings SELECT md5(n::text)::uuid, 'booked' FROM generate_series(1, 100000) n;
		INSERT INTO movements SELECT md5(n::text)::uuid, 'booked', 'sku-' || n, 1, 0 FROM generate_series(1, 100000) n`)
	var orders []string
	p.Look(`SELECT md5(n::text)::uuid::text FROM generate_series(1, 100) n`, &orders)
	p.Watch()
	const here = "services/inventory/internal/store/"
	p.Path("book new orders and let old ones leave", here+"bookings.go", func(ctx context.Context) error {
		var facts []store.Fact
		for i, id := range orders {
			facts = append(facts, store.Fact{Order: id, News: stock.Left, Lines: []stock.Line{{SKU: fmt.Sprint("sku-", i+1), Units: 1}}})
		}
		facts = append(facts, store.Fact{
			Order: "01990000-0000-7000-8000-000000000001", News: stock.Ordered, Lines: []stock.Line{{SKU: "sku-5", Units: 1}},
		})
		return p.DB.Tx(ctx, func(tx *database.Tx) error {
			changed, err := store.ApplyTx(ctx, tx, facts)
			if err == nil && (!changed[0] || !changed[100]) {
				return errors.New("the first or the last fact moved no booking")
			}
			return err
		})
	}, "using bookings_pkey", "using movements_pkey", "using stock_pkey", "Update on bookings", "Update on stock", "Insert on movements")
	p.Path("change stock", here+"changes.go", func(ctx context.Context) error {
		_, err := store.ChangeStock(ctx, p.DB, stock.Change{SKU: "sku-7", Request: "second", Units: 5})
		return err
	}, "using stock_pkey", "using changes_pkey")
	p.Path("list an item", here+"items.go", func(ctx context.Context) error {
		_, err := store.PutItem(ctx, p.DB, stock.Item{SKU: "sku-7", Name: "Tea", UnitPrice: 500, Currency: "EUR"}, "x")
		return err
	}, "using items_pkey")
	p.Path("retire an item", here+"items.go", func(ctx context.Context) error {
		version, err := store.RetireItem(ctx, p.DB, "sku-8", "x")
		if err == nil && version != 2 {
			return fmt.Errorf("version %d stands, not 2", version)
		}
		return err
	}, "using items_pkey", "Update on items")
	p.Path("read an item's levels", here+"changes.go", func(ctx context.Context) error {
		_, err := store.Levels(ctx, p.DB, "sku-7")
		return err
	}, "using stock_pkey")
	p.Check()
}
