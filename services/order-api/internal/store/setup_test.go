package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/proto/event"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/store"
)

// shop is a store with tables of its own.
type shop struct {
	*store.Store
	db *database.DB
}

func open(t *testing.T, db *database.DB) shop {
	t.Helper()
	must(t, database.Migrate(t.Context(), db, store.Migrations, outbox.Migrations))
	s, err := store.Open(db)
	must(t, err)
	return shop{s, db}
}

// each runs a test on both dialects.
func each(t *testing.T, test func(t *testing.T, s shop)) {
	t.Helper()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) { t.Helper(); test(t, open(t, db)) })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// apply applies facts in one transaction.
func (s shop) apply(ctx context.Context, facts ...order.Fact) (applied order.Applied, err error) {
	err = s.db.Tx(ctx, func(tx *database.Tx) error {
		applied, err = s.ApplyTx(ctx, tx, facts)
		return err
	})
	return applied, err
}

func (s shop) must(t *testing.T, facts ...order.Fact) order.Applied {
	t.Helper()
	applied, err := s.apply(t.Context(), facts...)
	must(t, err)
	return applied
}

func listed(sku string, version int64, change ...func(*order.CatalogueItem)) order.Fact {
	item := order.CatalogueItem{SkuID: sku, Name: "a " + sku, UnitPriceCents: 250, Currency: "EUR", Version: version}
	for _, c := range change {
		c(&item)
	}
	return order.Fact{Kind: order.ItemListed, Item: item}
}

func retired(sku string, version int64) order.Fact {
	return order.Fact{Kind: order.ItemRetired, Item: order.CatalogueItem{SkuID: sku, Version: version}}
}

func limit(n int64) func(*order.CatalogueItem) {
	return func(i *order.CatalogueItem) { i.PerCustomerLimit = n }
}

func granted(id, sku string, units int64) order.Fact {
	return order.Fact{Kind: order.UnitsGranted, Grant: order.Grant{ID: id, SkuID: sku, Units: units}}
}

func revoked(id, sku string, units int64) order.Fact {
	return order.Fact{Kind: order.UnitsRevoked, Grant: order.Grant{ID: id, SkuID: sku, Units: units}}
}

// about is a fact about an order; its key is its kind.
func about(kind order.Kind, id, service string) order.Fact {
	return order.Fact{Kind: kind, Entry: order.Entry{
		OrderID: id, Key: string(kind), At: time.UnixMilli(1_800_000_000_000), Service: service, What: string(kind),
	}}
}

// stock lists sku and grants units of it.
func (s shop) stock(t *testing.T, sku string, units int64, change ...func(*order.CatalogueItem)) {
	t.Helper()
	s.must(t, listed(sku, 1, change...), granted("first-"+sku, sku, units))
}

func draft(user string, lines ...order.Line) order.Draft {
	return order.Draft{
		ID: uuid.Must(uuid.NewV7()).String(), UserID: user, Lines: order.Sum(lines), Payment: order.Deferred,
		Window: 15 * time.Minute, By: user,
	}
}

func line(sku string, quantity int64) order.Line { return order.Line{SkuID: sku, Quantity: quantity} }

func keyed(key string, d order.Draft) order.Draft {
	d.Key, d.Fingerprint = key, d.Print()
	return d
}

func captured(d order.Draft) order.Draft {
	d.Payment = order.Captured
	return d
}

// buy accepts one draft and expects an order.
func (s shop) buy(t *testing.T, d order.Draft) order.Order {
	t.Helper()
	v := s.try(t, d)
	must(t, v.Err)
	return v.Order
}

func (s shop) try(t *testing.T, d order.Draft) order.Verdict {
	t.Helper()
	verdicts, err := s.Accept(t.Context(), []order.Draft{d})
	must(t, err)
	return verdicts[0]
}

func (s shop) get(t *testing.T, id string) order.Order {
	t.Helper()
	o, err := s.Get(t.Context(), id)
	must(t, err)
	return o
}

// code is the refusal in err, "" for none.
func code(err error) order.Code {
	var refused *order.Error
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

func refused(t *testing.T, err error, want order.Code) {
	t.Helper()
	if code(err) != want {
		t.Fatalf("error = %v, want %s", err, want)
	}
}

func (s shop) remaining(t *testing.T, sku string) int64 {
	t.Helper()
	remaining, err := s.Remaining(t.Context(), []string{sku})
	must(t, err)
	return remaining[sku]
}

// sent is an event of the outbox.
type sent struct {
	ID string
	proto.Message
}

// events are what was announced about an order, in the order of the outbox.
func (s shop) events(t *testing.T, id string) []sent {
	t.Helper()
	rows, err := s.db.QueryContext(t.Context(), `SELECT event_id, type, value FROM outbox WHERE key = $1 ORDER BY id`, []byte(id))
	all, err := database.Collect(rows, err, func(rows *sql.Rows) (sent, error) {
		var e sent
		var typ string
		var value []byte
		if err := rows.Scan(&e.ID, &typ, &value); err != nil {
			return e, err
		}
		m, err := event.Decode(typ, value)
		e.Message = m
		return e, err
	})
	must(t, err)
	return all
}

// ids are the names of those events.
func (s shop) ids(t *testing.T, id string) []string {
	t.Helper()
	var ids []string
	for _, e := range s.events(t, id) {
		ids = append(ids, e.ID)
	}
	return ids
}

// refunds are the payments of an order that are due for refund, each with its reason.
func (s shop) refunds(t *testing.T, id string) map[string]string {
	t.Helper()
	due := map[string]string{}
	for _, e := range s.events(t, id) {
		if r, ok := e.Message.(*orderv1.RefundDue); ok {
			if _, twice := due[r.GetPaymentRef()]; twice {
				t.Errorf("order %s: payment %s is due for refund twice", id, r.GetPaymentRef())
			}
			due[r.GetPaymentRef()] = r.GetReason()
		}
	}
	return due
}

// books checks what must hold for every sku once nothing runs: what came and went is what remains and what is sold.
func (s shop) books(t *testing.T) {
	t.Helper()
	rows, err := s.db.QueryContext(t.Context(), `SELECT a.sku_id, a.granted - a.revoked, a.remaining - a.owed + COALESCE((
			SELECT SUM(i.quantity) FROM order_items i JOIN orders o ON o.id = i.order_id WHERE i.sku_id = a.sku_id AND o.live), 0)
		FROM allotments a`)
	must(t, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var sku string
		var came, there int64
		must(t, rows.Scan(&sku, &came, &there))
		if came != there {
			t.Errorf("books of %s: %d came, %d are there", sku, came, there)
		}
	}
	must(t, rows.Err())
}

// versions checks that an order's announced versions are 1, 2, 3 … up to the one it has.
func (s shop) versions(t *testing.T, id string) {
	t.Helper()
	var want []string
	for v := range s.get(t, id).Version {
		want = append(want, fmt.Sprintf("order/%s/%d", id, v+1))
	}
	got := slices.DeleteFunc(s.ids(t, id), func(id string) bool { return id[:6] != "order/" })
	if !slices.Equal(got, want) {
		t.Errorf("announced %v, want %v", got, want)
	}
}

func equal[M ~map[K]V, K, V comparable](t *testing.T, what string, got, want M) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}
