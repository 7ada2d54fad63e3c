package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// catalogueRow is an item with what can be sold of it.
type catalogueRow struct {
	SkuID            string `gorm:"column:sku_id;primaryKey"`
	Name             string `gorm:"column:name"`
	UnitPriceCents   int64  `gorm:"column:unit_price_cents"`
	Currency         string `gorm:"column:currency"`
	PerCustomerLimit int64  `gorm:"column:per_customer_limit"`
	Version          int64  `gorm:"column:version"`
	Retired          bool   `gorm:"column:retired"`
	Available        int64  `gorm:"column:available"`
}

func (r catalogueRow) item() order.CatalogueItem {
	return order.CatalogueItem{
		SkuID: r.SkuID, Name: r.Name, UnitPriceCents: order.Cents(r.UnitPriceCents), Currency: r.Currency,
		PerCustomerLimit: r.PerCustomerLimit, Version: r.Version, Retired: r.Retired, Available: r.Available,
	}
}

// catalogue is what every look at items selects. What remains is looked up item by item: a page that joined the two would
// walk all allotments before its first item.
const catalogue = `SELECT i.*, COALESCE((SELECT a.remaining FROM allotments a WHERE a.sku_id = i.sku_id), 0) AS available
	FROM items i `

// Item is one item, retired or not, with what can be sold of it; *order.Error NotFound for a sku that was never listed.
func (s *Store) Item(ctx context.Context, sku string) (order.CatalogueItem, error) {
	items, err := s.ItemsOf(ctx, []string{sku})
	if err != nil {
		return order.CatalogueItem{}, err
	}
	item, ok := items[sku]
	if !ok {
		return item, &order.Error{Code: order.NotFound, Message: "there is no such item"}
	}
	return item, nil
}

// ItemsOf are the items of those skus that were ever listed, by sku.
func (s *Store) ItemsOf(ctx context.Context, skus []string) (map[string]order.CatalogueItem, error) {
	skus = slices.DeleteFunc(slices.Clone(skus), func(sku string) bool { return order.CheckText("skuId", sku, 1, 100) != nil })
	items := make(map[string]order.CatalogueItem, len(skus))
	if len(skus) == 0 {
		return items, nil
	}
	found, err := s.db.QueryValues(ctx, database.NewValues(database.Col("sku_id", "text", skus)),
		catalogue+`WHERE i.sku_id IN (SELECT v.sku_id FROM v)`)
	rows, err := scanned[catalogueRow](s, found, err)
	if err != nil {
		return nil, fmt.Errorf("read %d items: %w", len(skus), err)
	}
	for _, row := range rows {
		items[row.SkuID] = row.item()
	}
	return items, nil
}

// Items is a page of what is sold today, by sku, and the cursor of the next one, "" for none.
func (s *Store) Items(ctx context.Context, limit int, cursor string) (page []order.CatalogueItem, next string, err error) {
	after, err := itemCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	var rows []catalogueRow
	err = s.orm(ctx).Raw(catalogue+`WHERE NOT i.retired AND i.sku_id > ? ORDER BY i.sku_id LIMIT ?`, after, limit+1).Scan(&rows).Error
	if err != nil {
		return nil, "", fmt.Errorf("list items: %w", err)
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = base64.RawURLEncoding.EncodeToString([]byte(rows[limit-1].SkuID))
	}
	for _, row := range rows {
		page = append(page, row.item())
	}
	return page, next, nil
}

// itemCursor is the sku that a page begins after.
func itemCursor(cursor string) (string, error) {
	sku, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || order.CheckText("cursor", string(sku), 0, 100) != nil {
		return "", badCursor()
	}
	return string(sku), nil
}

// Skus are all skus that were ever listed.
func (s *Store) Skus(ctx context.Context) ([]string, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT sku_id FROM items`)
	skus, err := database.Collect(rows, err, scanText)
	if err != nil {
		return nil, fmt.Errorf("list skus: %w", err)
	}
	return skus, nil
}

// topSample bounds how many lines TopSold looks at, the newest first, so that a busy day does not slow a start.
const topSample = 200_000

// TopSold are the skus that sold the most units in the last day, most first.
func (s *Store) TopSold(ctx context.Context, limit int) ([]string, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT sku_id FROM (
			SELECT sku_id, quantity FROM order_items WHERE order_id >= $1 ORDER BY order_id DESC LIMIT $2) newest
		GROUP BY sku_id ORDER BY SUM(quantity) DESC, sku_id LIMIT $3`, firstID(time.Now().Add(-24*time.Hour)), topSample, limit)
	skus, err := database.Collect(rows, err, scanText)
	if err != nil {
		return nil, fmt.Errorf("list what sold most: %w", err)
	}
	return skus, nil
}

// firstID is the lowest order id of a moment: ids are UUID version 7 and begin with their time in milliseconds.
func firstID(at time.Time) string {
	var u uuid.UUID
	for i, t := 5, at.UnixMilli(); i >= 0; i, t = i-1, t>>8 {
		u[i] = byte(t) // the low byte is what is meant
	}
	return u.String()
}

// listItemsTx lists, changes and retires items whose version is new. Their allotments are locked, so that what is read
// here stays true.
func listItemsTx(ctx context.Context, tx *database.Tx, skus []string, facts []order.Fact, applied *order.Applied) error {
	if !slices.ContainsFunc(facts, order.Fact.AboutItem) {
		return nil
	}
	items, err := itemsTx(ctx, tx, skus)
	if err != nil {
		return err
	}
	changed := map[string]order.CatalogueItem{}
	for i, f := range facts {
		if !f.AboutItem() {
			continue
		}
		item := items[f.Item.SkuID]
		if applied.Changed[i] = item.Become(f); applied.Changed[i] {
			items[f.Item.SkuID], changed[f.Item.SkuID] = item, item
		}
	}
	applied.Items = slices.Sorted(maps.Keys(changed))
	return upsertItemsTx(ctx, tx, slices.Collect(maps.Values(changed)))
}

func itemsTx(ctx context.Context, tx *database.Tx, skus []string) (map[string]order.CatalogueItem, error) {
	items := map[string]order.CatalogueItem{}
	rows, err := tx.QueryValues(ctx, database.NewValues(database.Col("sku_id", "text", skus)), `
		SELECT i.sku_id, i.name, i.unit_price_cents, i.currency, i.per_customer_limit, i.version, i.retired
		FROM items i WHERE i.sku_id IN (SELECT v.sku_id FROM v)`)
	_, err = database.Collect(rows, err, func(rows *sql.Rows) (i order.CatalogueItem, err error) {
		err = rows.Scan(&i.SkuID, &i.Name, &i.UnitPriceCents, &i.Currency, &i.PerCustomerLimit, &i.Version, &i.Retired)
		items[i.SkuID] = i
		return i, err
	})
	if err != nil {
		return nil, fmt.Errorf("read items: %w", err)
	}
	return items, nil
}

func upsertItemsTx(ctx context.Context, tx *database.Tx, items []order.CatalogueItem) error {
	if len(items) == 0 {
		return nil
	}
	v := database.NewValues(
		field("sku_id", "text", items, func(i order.CatalogueItem) string { return i.SkuID }),
		field("name", "text", items, func(i order.CatalogueItem) string { return i.Name }),
		field("unit_price_cents", "bigint", items, func(i order.CatalogueItem) int64 { return int64(i.UnitPriceCents) }),
		field("currency", "text", items, func(i order.CatalogueItem) string { return i.Currency }),
		field("per_customer_limit", "bigint", items, func(i order.CatalogueItem) int64 { return i.PerCustomerLimit }),
		field("version", "bigint", items, func(i order.CatalogueItem) int64 { return i.Version }),
		field("retired", "boolean", items, func(i order.CatalogueItem) bool { return i.Retired }))
	_, err := tx.ExecValues(ctx, v, `INSERT INTO items (sku_id, name, unit_price_cents, currency, per_customer_limit, version, retired)
		SELECT v.sku_id, v.name, v.unit_price_cents, v.currency, v.per_customer_limit, v.version, v.retired FROM v WHERE true
		ON CONFLICT (sku_id) DO UPDATE SET name = excluded.name, unit_price_cents = excluded.unit_price_cents,
			currency = excluded.currency, per_customer_limit = excluded.per_customer_limit, version = excluded.version,
			retired = excluded.retired`)
	if err != nil {
		return fmt.Errorf("write %d items: %w", len(items), err)
	}
	return nil
}
