package logistics

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
	"github.com/floodgate-dev/floodgate/services/logistics/internal/shipment"
	"github.com/floodgate-dev/floodgate/services/logistics/internal/store"
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
		want     shipment.News
	}{
		{created, confirmed, ""},
		{created, cancelled, ""},
		{created, paid, shipment.Paid},
		{confirmed, paid, shipment.Paid},
		{paid, refunded, shipment.Refunded},
		{paid, shipped, ""},
		{shipped, delivered, ""},
		{shipped, refunded, ""},
		{delivered, refunded, ""},
		{paid, 99, ""},
	} {
		fact, means, err := read(record(t, event.OrderStatusChanges, id, moved(id, c.from, c.to)))
		if err != nil || means != (c.want != "") || fact.News != c.want {
			t.Errorf("%s to %s: %+v, %v, %v", c.from, c.to, fact, means, err)
		}
	}
}

func TestEachRecordSaysWhetherItChangedAnything(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		migrated(t, db)
		id := uuid.NewString()
		var records []kafka.Record
		for _, m := range []proto.Message{
			&orderv1.RefundDue{OrderId: id}, moved(id, confirmed, paid), moved(id, confirmed, paid), moved(id, paid, refunded),
		} {
			records = append(records, record(t, event.OrderStatusChanges, id, m))
		}
		changed, err := apply(t.Context(), db, records...)
		if want := []bool{false, true, false, true}; err != nil || !slices.Equal(changed, want) {
			t.Errorf("changed %v, %v, want %v", changed, err, want)
		}
	})
}

func TestRecordsAtFault(t *testing.T) {
	t.Parallel()
	id := uuid.NewString()
	garbage := record(t, event.OrderStatusChanges, id, moved(id, created, paid))
	garbage.Value = []byte("\xff\xff")
	stranger := record(t, event.OrderStatusChanges, id, moved(id, created, paid))
	stranger.Headers[0].Value = []byte("somebody.else.v1.Event")
	for name, r := range map[string]kafka.Record{
		"NoUUID":      record(t, event.OrderStatusChanges, id, moved("o-1", created, paid)),
		"NoState":     record(t, event.OrderStatusChanges, id, moved(id, 0, paid)),
		"Garbage":     garbage,
		"UnknownType": stranger,
	} {
		if _, _, err := read(r); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func FuzzRead(f *testing.F) {
	id := uuid.NewString()
	seed := record(f, event.OrderStatusChanges, id, moved(id, created, paid))
	f.Add(string(seed.Headers[0].Value), seed.Value)
	f.Fuzz(func(t *testing.T, eventType string, value []byte) {
		fact, means, err := read(kafka.Record{Value: value, Headers: []outbox.Header{{Key: "ce_type", Value: []byte(eventType)}}})
		if err == nil && means && fact.News == "" {
			t.Errorf("%+v passes", fact)
		}
	})
}
