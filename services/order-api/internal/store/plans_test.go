package store

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// month fills the tables with the orders of a month, one each 26 s, of a thousand customers over as many skus as orders. Those
// of the last 17 minutes are not paid, and those of the four before them are past their time.
const month = `
	CREATE TABLE made AS SELECT n, at, (substr(hex, 1, 8) || '-' || substr(hex, 9) || '-7000-8000-' || lpad(n::text, 12, '0'))::uuid AS id
		FROM (SELECT n, at, lpad(to_hex(at), 12, '0') AS hex FROM (SELECT n,
			%d - (100000 - n) * 26000::bigint AS at FROM generate_series(1, 100000) n) t) u;
	INSERT INTO orders (id, user_id, status, payment, payment_ref, held_ref, total_cents, currency, reference, metadata, version, created_at,
			updated_at, expires_at, due_at, placed_by, idem_key, fingerprint)
		SELECT id, 'u-' || n %% 1000, CASE WHEN n > 99950 THEN 'confirmed' ELSE 'paid' END, 'deferred', CASE WHEN n > 99950 THEN '' ELSE 'p' END,
			CASE WHEN n > 99950 THEN '' ELSE 'p' END, 10, 'EUR', '', '', 2, at, at, at + 900000, CASE WHEN n > 99950 THEN at + 900000 END,
			'u-' || n %% 1000, 'k-' || n, 'f' FROM made;
	INSERT INTO order_items SELECT id, 'sku-' || n, 1, 10 FROM made;
	INSERT INTO payments SELECT id, 'p', 'held', 10, 'EUR', at FROM made WHERE n <= 99950;
	INSERT INTO timeline (order_id, key, at, service, what, by_whom, detail) SELECT id, 'order/2', at, 'order-api', 'confirmed', '', '' FROM made;
	INSERT INTO timeline (order_id, key, at, service, what, by_whom, detail)
		SELECT id, 'logistics/shipment-created', at, 'logistics', 'created', '', '' FROM made WHERE n <= 99950;
	INSERT INTO allotments (sku_id, remaining, granted) SELECT 'sku-' || n, 100, 101 FROM made;
	INSERT INTO items SELECT 'sku-' || n, 'tea', 10, 'EUR', 1000, 1, false FROM made;
	INSERT INTO grants SELECT 'granted/' || n, 'sku-' || n, 101 FROM made;
	DROP TABLE made`

// TestPlansOfAFullShop learns how Postgres runs what order-api does all day, on full tables.
func TestPlansOfAFullShop(t *testing.T) {
	t.Parallel()
	now := time.Now()
	p := servertest.NewPlans(t, "order-api")
	p.Fill([]database.Migrations{Migrations, outbox.Migrations}, fmt.Sprintf(month, now.UnixMilli()))
	p.Watch()
	s, err := Open(p.DB)
	if err != nil {
		t.Fatal(err)
	}
	id := func(n int) string { return idAt(now.Add(time.Duration(n-100_000)*26*time.Second), n) }
	watchSale(p, s, now)
	watchReads(p, s, id)
	watchMoves(p, s, id)
	p.Check()
}

const here = "services/order-api/internal/store/"

// idAt is the id of the n-th order, which is made at a moment.
func idAt(at time.Time, n int) string { return firstID(at)[:14] + fmt.Sprintf("7000-8000-%012d", n) }

// drafts are two orders whose keys are bound already, and more that are new.
func drafts(now time.Time) []order.Draft {
	all := make([]order.Draft, 100)
	for i := range all {
		n := 99_999 + i
		all[i] = order.Draft{
			ID: idAt(now, n), UserID: fmt.Sprint("u-", n%1000), Key: fmt.Sprint("k-", n), Fingerprint: "f", Payment: order.Captured,
			Lines: []order.Line{{SkuID: fmt.Sprint("sku-", n%300+1), Quantity: 1}},
		}
	}
	return all
}

func watchSale(p *servertest.Plans, s *Store, now time.Time) {
	batch := drafts(now)
	p.Path("accept a batch of orders", here+"accept.go", func(ctx context.Context) error {
		verdicts, err := s.Accept(ctx, batch)
		if err == nil && (verdicts[0].Order.ID == batch[0].ID || verdicts[99].Order.ID != batch[99].ID) {
			return fmt.Errorf("the first of a hundred drafts is bound and the last is new: %+v", verdicts)
		}
		return err
	}, "using allotments_pkey", "using items_pkey", "using orders_user_key", "using order_items_pkey", "using orders_of_user",
		"Insert on orders", "Insert on order_items", "Insert on payments", "Update on allotments", "Insert on outbox")
	p.Path("answer a repeat by its key", here+"keys.go", func(ctx context.Context) error {
		_, err := s.LookupKeys(ctx, batch)
		return err
	}, "using orders_user_key", "using order_items_pkey")
	p.Path("learn what a lost COMMIT did", here+"keys.go", func(ctx context.Context) error {
		_, err := s.Settle(ctx, batch)
		return err
	}, "using orders_pkey")
}

func watchReads(p *servertest.Plans, s *Store, id func(int) string) {
	p.Path("read an order", here+"list.go", func(ctx context.Context) error {
		_, err := s.Get(ctx, id(5000))
		return err
	}, "using orders_pkey", "using order_items_pkey")
	p.Path("list a page of a customer's orders", here+"list.go", func(ctx context.Context) error {
		_, next, err := s.List(ctx, Query{UserID: "u-7", Limit: 20})
		if err == nil {
			_, _, err = s.List(ctx, Query{UserID: "u-7", Limit: 20, Cursor: next})
		}
		return err
	}, "using orders_of_user", "order_items_pkey")
	p.Path("read timelines", here+"timeline.go", func(ctx context.Context) error {
		_, err := s.TimelineSince(ctx, map[string]int64{id(5000): 0, id(6000): 0})
		return err
	}, "timeline_order_id_key_key")
	p.Path("read items", here+"items.go", func(ctx context.Context) error {
		_, err := s.ItemsOf(ctx, []string{"sku-1", "sku-2"})
		return err
	}, "using items_pkey", "using allotments_pkey")
	p.Path("list a page of items", here+"items.go", func(ctx context.Context) error {
		_, next, err := s.Items(ctx, 20, base64.RawURLEncoding.EncodeToString([]byte("sku-88")))
		if err == nil && next == "" {
			return errors.New("the page is the last one")
		}
		return err
	}, "using items_pkey", "using allotments_pkey")
	p.Path("read what remains", here+"stock.go", func(ctx context.Context) error {
		_, err := s.Remaining(ctx, []string{"sku-1", "sku-2"})
		return err
	}, "using items_pkey", "using allotments_pkey")
	p.Path("find what sold most in a day", here+"items.go", func(ctx context.Context) error {
		_, err := s.TopSold(ctx, 100)
		return err
	}, "order_items_pkey")
	p.Path("count stuck orders", here+"stuck.go", func(ctx context.Context) error {
		_, err := s.Stuck(ctx)
		return err
	}, "orders_pkey", "Index Only Scan using timeline_order_id_key_key", "Index Only Scan using orders_due")
}

func watchMoves(p *servertest.Plans, s *Store, id func(int) string) {
	p.Path("pay an order", here+"payments.go", func(ctx context.Context) error {
		_, err := s.Pay(ctx, id(99_990), "p", "u")
		return err
	}, "using orders_pkey", "using payments_pkey", "Update on orders", "Insert on timeline")
	p.Path("refund an order", here+"moves.go", func(ctx context.Context) error {
		_, _, err := s.Refund(ctx, id(5000), "u", "")
		return err
	}, "using allotments_pkey", "Update on payments")
	p.Path("cancel an order", here+"moves.go", func(ctx context.Context) error {
		_, freed, err := s.Cancel(ctx, id(99_980), "u", "")
		if err == nil && len(freed) != 1 {
			return fmt.Errorf("units of %d items came free, not of one", len(freed))
		}
		return err
	}, "using orders_pkey", "using allotments_pkey", "Update on orders", "Update on allotments", "Insert on timeline")
	p.Path("hide an order", here+"list.go", func(ctx context.Context) error { return s.Hide(ctx, id(99_980)) }, "using orders_pkey")
	p.Path("expire orders", here+"moves.go", func(ctx context.Context) error {
		expired, _, err := s.Expire(ctx, 10)
		if err == nil && len(expired) != 10 {
			return fmt.Errorf("%d orders expired, not 10", len(expired))
		}
		return err
	}, "using orders_due", "using orders_pkey")
	p.Path("apply what other services said", here+"facts.go", func(ctx context.Context) error {
		var facts []order.Fact
		for n := range 100 {
			entry := order.Entry{OrderID: id(n + 1000), Key: "k", Service: "x", What: "x", At: time.UnixMilli(1)}
			facts = append(facts, order.Fact{Kind: order.Noted, Entry: entry})
			entry.OrderID = id(n + 2000)
			facts = append(facts, order.Fact{Kind: order.GoodsShipped, Entry: entry})
		}
		sku := "sku-5"
		facts = append(facts,
			order.Fact{Kind: order.ItemListed, Item: order.CatalogueItem{SkuID: sku, Version: 2, UnitPriceCents: 11, Currency: "EUR"}},
			order.Fact{Kind: order.ItemRetired, Item: order.CatalogueItem{SkuID: "sku-6", Version: 2, Retired: true}},
			order.Fact{Kind: order.UnitsGranted, Grant: order.Grant{ID: "more", SkuID: sku, Units: 5}})
		return s.db.Tx(ctx, func(tx *database.Tx) error {
			_, err := s.ApplyTx(ctx, tx, facts)
			return err
		})
	}, "using orders_pkey", "using items_pkey", "Conflict Arbiter Indexes: items_pkey", "Insert on grants")
}
