package inventory

import (
	"context"
	"slices"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/proto/event"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	"github.com/floodgate-dev/floodgate/services/inventory/internal/stock"
	"github.com/floodgate-dev/floodgate/services/inventory/internal/store"
)

const (
	created   = orderv1.OrderStatus_ORDER_STATUS_CREATED
	confirmed = orderv1.OrderStatus_ORDER_STATUS_CONFIRMED
	paid      = orderv1.OrderStatus_ORDER_STATUS_PAID
	shipped   = orderv1.OrderStatus_ORDER_STATUS_SHIPPED
	delivered = orderv1.OrderStatus_ORDER_STATUS_DELIVERED
	cancelled = orderv1.OrderStatus_ORDER_STATUS_CANCELLED
	refunded  = orderv1.OrderStatus_ORDER_STATUS_REFUNDED
)

func order(id string) *orderv1.Order {
	return &orderv1.Order{
		Id: id, UserId: "u-1", TotalCents: 1250, Currency: "EUR",
		Items: []*orderv1.OrderItem{{SkuId: "tea", Quantity: 1, UnitPriceCents: 1250}},
	}
}

func moved(id string, from, to orderv1.OrderStatus) *orderv1.OrderStatusChanged {
	return &orderv1.OrderStatusChanged{OrderId: id, From: from, To: to, Version: 2, By: "shop", Order: order(id)}
}

func record(tb testing.TB, topic, key string, m proto.Message) kafka.Record {
	tb.Helper()
	value, err := proto.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return kafka.Record{
		Topic: topic, Key: []byte(key), Value: value, Headers: []outbox.Header{{Key: "ce_type", Value: []byte(event.Type(m))}},
	}
}

func migrated(tb testing.TB, db *database.DB) *database.DB {
	tb.Helper()
	if err := database.Migrate(tb.Context(), db, outbox.Migrations, store.Migrations); err != nil {
		tb.Fatal(err)
	}
	return db
}

func apply(ctx context.Context, db *database.DB, records ...kafka.Record) (changed []bool, err error) {
	err = db.Tx(ctx, func(tx *database.Tx) (err error) {
		changed, err = handle(ctx, tx, records)
		return err
	})
	return changed, err
}

func TestWhatMovesMean(t *testing.T) {
	t.Parallel()
	id := uuid.NewString()
	for _, c := range []struct {
		from, to orderv1.OrderStatus
		want     stock.News
	}{
		{created, confirmed, ""},
		{confirmed, paid, ""},
		{created, cancelled, stock.Ended},
		{paid, refunded, stock.Ended},
		{paid, shipped, stock.Left},
		{shipped, delivered, stock.Left},
		{shipped, refunded, stock.Left},
		{delivered, refunded, stock.Left},
		{paid, 99, ""},
	} {
		fact, means, err := read(record(t, event.OrderStatusChanges, id, moved(id, c.from, c.to)))
		if err != nil || means != (c.want != "") || fact.News != c.want {
			t.Errorf("%s to %s: %+v, %v, %v", c.from, c.to, fact, means, err)
		}
	}
	fact, means, err := read(record(t, event.OrderCreated, id, &orderv1.OrderCreated{Order: order(id)}))
	if err != nil || !means || fact.News != stock.Ordered || len(fact.Lines) != 1 {
		t.Errorf("created: %+v, %v, %v", fact, means, err)
	}
}

func TestEachRecordSaysWhetherItChangedAnything(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		listed(t, migrated(t, db), "tea", 10)
		id := uuid.NewString()
		var records []kafka.Record
		for _, m := range []proto.Message{
			&orderv1.RefundDue{OrderId: id}, &orderv1.OrderCreated{Order: order(id)}, &orderv1.OrderCreated{Order: order(id)},
			moved(id, created, confirmed), moved(id, paid, refunded), moved(id, paid, shipped),
		} {
			records = append(records, record(t, event.OrderStatusChanges, id, m))
		}
		changed, err := apply(t.Context(), db, records...)
		if want := []bool{false, true, false, false, true, false}; err != nil || !slices.Equal(changed, want) {
			t.Errorf("changed %v, %v, want %v", changed, err, want)
		}
	})
}

func TestRecordsAtFault(t *testing.T) {
	t.Parallel()
	id := uuid.NewString()
	noUnits, noLines := order(id), order(id)
	noUnits.Items[0].Quantity, noLines.Items = 0, nil
	garbage := record(t, event.OrderCreated, id, &orderv1.OrderCreated{Order: order(id)})
	garbage.Value = []byte("\xff\xff")
	stranger := record(t, event.OrderCreated, id, &orderv1.OrderCreated{Order: order(id)})
	stranger.Headers[0].Value = []byte("somebody.else.v1.Event")
	for name, r := range map[string]kafka.Record{
		"NoUnits":     record(t, event.OrderCreated, id, &orderv1.OrderCreated{Order: noUnits}),
		"NoLines":     record(t, event.OrderCreated, id, &orderv1.OrderCreated{Order: noLines}),
		"NoOrder":     record(t, event.OrderCreated, id, &orderv1.OrderCreated{}),
		"NoUUID":      record(t, event.OrderCreated, id, &orderv1.OrderCreated{Order: order("o-1")}),
		"NoState":     record(t, event.OrderStatusChanges, id, moved(id, created, 0)),
		"Garbage":     garbage,
		"UnknownType": stranger,
	} {
		if _, _, err := read(r); err == nil {
			t.Errorf("%s passes", name)
		}
	}
	if _, means, err := read(record(t, event.OrderStatusChanges, id, &orderv1.OrderStatusChanged{
		OrderId: id, From: created, To: cancelled, Order: noLines,
	})); err != nil || !means {
		t.Errorf("an end needs no lines: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	id := uuid.NewString()
	seed := record(f, event.OrderCreated, id, &orderv1.OrderCreated{Order: order(id)})
	f.Add(string(seed.Headers[0].Value), seed.Value)
	f.Fuzz(func(t *testing.T, eventType string, value []byte) {
		fact, means, err := read(kafka.Record{Value: value, Headers: []outbox.Header{{Key: "ce_type", Value: []byte(eventType)}}})
		if err == nil && means && (uuid.Validate(fact.Order) != nil || fact.News != stock.Ended && len(fact.Lines) == 0) {
			t.Errorf("%+v passes", fact)
		}
	})
}

// Each operation is one poll of 500 orders of the same item, as the consumer runtime hands them over.
func BenchmarkHandle500OfOneItem(b *testing.B) {
	db := migrated(b, servertest.Postgres(b))
	listed(b, db, "tea", 1_000_000)
	for b.Loop() {
		b.StopTimer()
		records := make([]kafka.Record, 500)
		for i := range records {
			id := uuid.Must(uuid.NewV7()).String()
			records[i] = record(b, event.OrderCreated, id, &orderv1.OrderCreated{Order: order(id)})
		}
		b.StartTimer()
		if _, err := apply(b.Context(), db, records...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "orders/s")
}

// listed puts units of an item on the shelf.
func listed(tb testing.TB, db *database.DB, sku string, units stock.Units) {
	tb.Helper()
	if _, err := store.PutItem(tb.Context(), db, stock.Item{SKU: sku, Name: "Tea", UnitPrice: 1250, Currency: "EUR"}, "test"); err != nil {
		tb.Fatal(err)
	}
	if _, err := store.ChangeStock(tb.Context(), db, stock.Change{SKU: sku, Request: "fill", Units: units}); err != nil {
		tb.Fatal(err)
	}
}
