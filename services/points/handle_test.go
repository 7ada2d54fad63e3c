package points

import (
	"context"
	"fmt"
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
	"github.com/floodgate-dev/floodgate/services/points/internal/points"
	"github.com/floodgate-dev/floodgate/services/points/internal/store"
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
	for to, want := range map[orderv1.OrderStatus]points.News{
		created: "", confirmed: "", cancelled: "", paid: points.Paid, shipped: points.Paid, delivered: points.Paid,
		refunded: points.Refunded, 99: "",
	} {
		fact, means, err := read(record(t, event.OrderStatusChanges, id, moved(id, created, to)))
		if err != nil || means != (want != "") || fact.News != want {
			t.Errorf("%s: %+v, %v, %v", to, fact, means, err)
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
			&orderv1.RefundDue{OrderId: id}, moved(id, created, confirmed), moved(id, confirmed, paid), moved(id, confirmed, paid),
			moved(id, paid, shipped), moved(id, shipped, refunded),
		} {
			records = append(records, record(t, event.OrderStatusChanges, id, m))
		}
		changed, err := apply(t.Context(), db, records...)
		if want := []bool{false, false, true, false, false, true}; err != nil || !slices.Equal(changed, want) {
			t.Errorf("changed %v, %v, want %v", changed, err, want)
		}
	})
}

func TestRecordsAtFault(t *testing.T) {
	t.Parallel()
	id := uuid.NewString()
	noUser, noOrder, badID := moved(id, created, paid), moved(id, created, paid), moved("o-1", created, paid)
	noUser.Order.UserId, noOrder.Order = "", nil
	garbage := record(t, event.OrderStatusChanges, id, moved(id, created, paid))
	garbage.Value = []byte("\xff\xff")
	stranger := record(t, event.OrderStatusChanges, id, moved(id, created, paid))
	stranger.Headers[0].Value = []byte("somebody.else.v1.Event")
	for name, r := range map[string]kafka.Record{
		"NoUser":      record(t, event.OrderStatusChanges, id, noUser),
		"NoOrder":     record(t, event.OrderStatusChanges, id, noOrder),
		"NoUUID":      record(t, event.OrderStatusChanges, id, badID),
		"NoState":     record(t, event.OrderStatusChanges, id, moved(id, created, 0)),
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
		if err == nil && means && (uuid.Validate(fact.Order.ID) != nil || fact.Order.Check() != nil) {
			t.Errorf("%+v passes", fact)
		}
	})
}

// Each operation is one poll of 500 orders that became paid, as the consumer runtime hands them over.
func BenchmarkHandle500(b *testing.B) {
	db := migrated(b, servertest.Postgres(b))
	for b.Loop() {
		b.StopTimer()
		records := make([]kafka.Record, 500)
		for i := range records {
			id := uuid.Must(uuid.NewV7()).String()
			m := moved(id, confirmed, paid)
			m.Order.UserId = fmt.Sprint("u-", i%400)
			records[i] = record(b, event.OrderStatusChanges, id, m)
		}
		b.StartTimer()
		if _, err := apply(b.Context(), db, records...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}
