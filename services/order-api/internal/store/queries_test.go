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

// TestPlansOfASaleFitAnySize looks at plans that were made while the tables were empty: they are kept while the tables grow.
func TestPlansOfASaleFitAnySize(t *testing.T) {
	t.Parallel()
	db := servertest.Postgres(t)
	if err := database.Migrate(t.Context(), db, Migrations, outbox.Migrations); err != nil {
		t.Fatal(err)
	}
	s, err := Open(db)
	if err != nil {
		t.Fatal(err)
	}
	draft := order.Draft{UserID: "u", Key: "k", Lines: []order.Line{{SkuID: "tea", Quantity: 1}}}
	var rows []orderRow
	state := newState()
	state.Shelves["tea"] = &order.Shelf{CatalogueItem: order.CatalogueItem{PerCustomerLimit: 1}}
	for index, q := range map[string]database.Question{
		"allotments_pkey":  lockShelves(db.Dialect, newState(), []string{"tea"}),
		"orders_user_key":  rowsOfKeys(db.Dialect, []order.Draft{draft}, &rows),
		"order_items_pkey": countHeld(state, []order.Draft{draft}),
	} {
		var plan []string
		err := s.db.Pipeline(t.Context(), func(p *database.Pipeline) error {
			return p.Ask(t.Context(), q.Explain(func(row database.Row) error {
				var line string
				err := row.Scan(&line)
				plan = append(plan, line)
				return err
			}))
		})
		text := strings.Join(plan, "\n")
		if err != nil || !strings.Contains(text, "Index Cond") || !strings.Contains(text, index) || strings.Contains(text, "Seq Scan") {
			t.Errorf("no look-up by %s (%v):\n%s", index, err, text)
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
