package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"gorm.io/gorm"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// filled is a store with n orders of each of ten users over a hundred skus, as the statistics of Postgres know it.
func filled(tb testing.TB, db *database.DB, n int) *Store {
	tb.Helper()
	ctx := tb.Context()
	check := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	check(database.Migrate(ctx, db, Migrations, outbox.Migrations))
	s, err := Open(db)
	check(err)
	var facts []order.Fact
	for i := range 100 {
		sku := fmt.Sprintf("sku-%02d", i)
		facts = append(facts,
			order.Fact{Kind: order.ItemListed, Item: order.CatalogueItem{SkuID: sku, Version: 1, UnitPriceCents: 10, Currency: "EUR"}},
			order.Fact{Kind: order.UnitsGranted, Grant: order.Grant{ID: sku, SkuID: sku, Units: 1 << 40}})
	}
	check(db.Tx(ctx, func(tx *database.Tx) error { _, err := s.ApplyTx(ctx, tx, facts); return err }))
	var drafts []order.Draft
	for i := range n * 10 {
		drafts = append(drafts, order.Draft{
			ID: fmt.Sprintf("01990000-0000-7000-8000-%012d", i), UserID: fmt.Sprint("u-", i%10), Key: fmt.Sprint("k-", i),
			Lines: []order.Line{{SkuID: fmt.Sprintf("sku-%02d", i*7%100), Quantity: 1}}, Payment: order.Captured,
		})
	}
	for batch := range slices.Chunk(drafts, 500) {
		_, err := s.Accept(ctx, batch)
		check(err)
	}
	return s
}

// TestPagesReadItemsAtOnce counts statements: a page of any length is two.
func TestPagesReadItemsAtOnce(t *testing.T) {
	t.Parallel()
	s := filled(t, servertest.SQLite(t), 30)
	var statements int
	if err := s.gorm.Callback().Query().After("gorm:query").Register("count", func(*gorm.DB) { statements++ }); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{1, 25} {
		statements = 0
		page, _, err := s.List(t.Context(), Query{UserID: "u-1", Limit: limit})
		if err != nil || len(page) != limit || statements != 2 {
			t.Errorf("%d orders took %d statements, %v", len(page), statements, err)
		}
	}
}

// TestHotStatementsUseTheirIndexes asks Postgres how it would run the statements of a sale and of a page.
func TestHotStatementsUseTheirIndexes(t *testing.T) {
	t.Parallel()
	db := servertest.Postgres(t)
	s := filled(t, db, 200)
	_, err := db.ExecContext(t.Context(), `ANALYZE`)
	if err != nil {
		t.Fatal(err)
	}
	list := s.gorm.ToSQL(func(tx *gorm.DB) *gorm.DB {
		return tx.Where("user_id = ?", "u-1").Where("(created_at, id) < (?, ?)", 1<<50, "01990000-0000-7000-8000-000000000001").
			Order("created_at DESC, id DESC").Limit(21).Find(&[]orderRow{})
	})
	for statement, index := range map[string]string{
		list: "orders_of_user",
		`SELECT id FROM orders WHERE due_at <= (SELECT ` + db.Dialect.NowMS() + `) ORDER BY due_at LIMIT 100 FOR UPDATE SKIP LOCKED`: "orders_due",
		`WITH v(user_id, idem_key) AS (SELECT * FROM unnest('{u-1,u-2}'::text[], '{k-1,k-2}'::text[]))
			SELECT DISTINCT o.* FROM v JOIN orders o ON o.user_id = v.user_id AND o.idem_key = v.idem_key`: "orders_user_key",
		`WITH v(id) AS (SELECT * FROM unnest('{01990000-0000-7000-8000-000000000001}'::uuid[]))
			SELECT i.* FROM v JOIN order_items i ON i.order_id = v.id`: "order_items_pkey",
	} {
		rows, err := db.QueryContext(t.Context(), "EXPLAIN "+statement)
		plan, err := database.Collect(rows, err, scanText)
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(plan, "\n"); !strings.Contains(text, index) {
			t.Errorf("%s\ndoes not use %s:\n%s", statement, index, text)
		}
	}
}

// BenchmarkAccept sells batches of 100 orders of one line over 100 skus, the way the committer does under load.
func BenchmarkAccept(b *testing.B) {
	s := filled(b, servertest.Postgres(b), 1)
	batch := make([]order.Draft, 100)
	var n int
	for b.Loop() {
		for i := range batch {
			n++
			batch[i] = order.Draft{
				ID: fmt.Sprintf("01990000-0000-7000-8001-%012d", n), UserID: fmt.Sprint("u-", i),
				Lines: []order.Line{{SkuID: fmt.Sprintf("sku-%02d", n*7%100), Quantity: 1}}, Payment: order.Captured,
			}
		}
		if _, err := s.Accept(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(batch))/b.Elapsed().Seconds(), "orders/s")
}
