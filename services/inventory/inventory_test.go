package inventory_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/proto/event"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	"github.com/floodgate-dev/floodgate/services/inventory"
	"github.com/floodgate-dev/floodgate/services/inventory/internal/stock"
	"github.com/floodgate-dev/floodgate/services/inventory/internal/store"
)

// service is the service as it runs in production, on a database and topics of its own.
type service struct {
	db     *database.DB
	writer *kafka.Writer
	ended  chan error
}

func settings(t *testing.T) inventory.Config {
	t.Helper()
	cfg := inventory.Defaults()
	cfg.Database.DSN = config.Secret(servertest.PostgresDSN(t))
	cfg.Kafka.Brokers, cfg.Kafka.TopicPrefix = servertest.Kafka(t)
	cfg.Kafka.Partitions, cfg.Kafka.Replication = 4, 1
	cfg.Run.Port, cfg.Run.OpsPort = 0, 0 // any that is free
	return cfg
}

func start(t *testing.T) service {
	t.Helper()
	cfg := settings(t)
	if err := inventory.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := kafka.EnsureTopics(t.Context(), cfg.Kafka, event.Topics(), event.Groups()); err != nil {
		t.Fatal(err)
	}
	s := service{db: servertest.Open(t, cfg.Database.DSN.Reveal()), writer: kafka.NewWriter(cfg.Kafka), ended: make(chan error, 1)}
	ctx, stop := context.WithCancel(context.Background())
	go func() { s.ended <- inventory.Run(ctx, cfg) }()
	t.Cleanup(func() {
		stop()
		if err := <-s.ended; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := s.writer.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// send sends until everything is acknowledged, as a relay does: of a fresh topic the leader may not be known yet.
func (s service) send(t *testing.T, messages ...outbox.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		err := s.writer.Send(ctx, messages)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// await polls until the query answers want.
func (s service) await(t *testing.T, query string, want int64) {
	t.Helper()
	deadline, tick := time.After(60*time.Second), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for {
		var got int64
		if err := s.db.QueryRowContext(t.Context(), query).Scan(&got); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if got == want {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: %d, want %d", query, got, want)
		case err := <-s.ended:
			s.ended <- nil
			t.Fatalf("the service ended: %v", err)
		case <-tick.C:
		}
	}
}

func message(t *testing.T, topic, key string, m proto.Message) outbox.Message {
	t.Helper()
	value, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return outbox.Message{Topic: topic, Key: []byte(key), Value: value, Headers: []outbox.Header{
		{Key: "ce_specversion", Value: []byte("1.0")},
		{Key: "ce_id", Value: []byte(uuid.NewString())},
		{Key: "ce_type", Value: []byte(event.Type(m))},
	}}
}

func moved(o *orderv1.Order, from, to orderv1.OrderStatus) *orderv1.OrderStatusChanged {
	return &orderv1.OrderStatusChanged{OrderId: o.GetId(), From: from, To: to, Version: 2, By: "shop", Order: o}
}

// Of 90 orders of 2 teas each, a third stays booked, a third is cancelled and a third ships. Every event comes three
// times, in any order.
func TestSumsAreExactWhateverComesTwice(t *testing.T) {
	t.Parallel()
	s := start(t)
	if _, err := store.PutItem(t.Context(), s.db, stock.Item{SKU: "tea", Name: "Tea", UnitPrice: 450, Currency: "EUR"}, "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.ChangeStock(t.Context(), s.db, stock.Change{SKU: "tea", Request: "fill", Units: 1000}); err != nil {
		t.Fatal(err)
	}
	var events, last []outbox.Message
	order := func() *orderv1.Order {
		return &orderv1.Order{Id: uuid.NewString(), UserId: "u-1", Items: []*orderv1.OrderItem{{SkuId: "tea", Quantity: 2}}}
	}
	for i := range 90 {
		o := order()
		life := []outbox.Message{message(t, event.OrderCreated, o.GetId(), &orderv1.OrderCreated{Order: o})}
		switch i % 3 {
		case 1:
			life = append(life, message(t, event.OrderStatusChanges, o.GetId(),
				moved(o, orderv1.OrderStatus_ORDER_STATUS_CONFIRMED, orderv1.OrderStatus_ORDER_STATUS_CANCELLED)))
		case 2:
			life = append(life, message(t, event.OrderStatusChanges, o.GetId(),
				moved(o, orderv1.OrderStatus_ORDER_STATUS_PAID, orderv1.OrderStatus_ORDER_STATUS_SHIPPED)))
		}
		for range 3 {
			events = append(events, life...)
		}
	}
	rand.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	s.send(t, events...)
	// What comes last on every partition of both topics says that all before it was read.
	for range 100 {
		booked, left := order(), order()
		last = append(last, message(t, event.OrderCreated, booked.GetId(), &orderv1.OrderCreated{Order: booked}),
			message(t, event.OrderStatusChanges, left.GetId(),
				moved(left, orderv1.OrderStatus_ORDER_STATUS_PAID, orderv1.OrderStatus_ORDER_STATUS_SHIPPED)))
	}
	s.send(t, last...)
	s.await(t, "SELECT count(*) FROM bookings", 90+200)
	for query, want := range map[string]int64{
		"SELECT count(*) FROM bookings WHERE state = 'booked'":   30 + 100,
		"SELECT count(*) FROM bookings WHERE state = 'released'": 30,
		"SELECT count(*) FROM bookings WHERE state = 'shipped'":  30 + 100,
		"SELECT booked FROM stock":                               2 * (30 + 100),
		"SELECT on_hand FROM stock":                              1000 - 2*(30+100),
		"SELECT granted_unsold FROM stock":                       1000 - 4*(30+100),
		"SELECT count(*) - count(DISTINCT event_id) FROM outbox": 0,
		"SELECT count(*) FROM outbox WHERE topic LIKE 'dlq-%'":   0,
	} {
		s.await(t, query, want)
	}
}

// Three records that fail for three causes among good ones: bytes that are no event, an order of nothing, and an order
// of an item that is listed only afterwards.
func TestOnlyWhatIsAtFaultWaits(t *testing.T) {
	t.Parallel()
	s := start(t)
	ordered := func(sku string, units int32) outbox.Message {
		o := &orderv1.Order{Id: uuid.NewString(), UserId: "u-1", Items: []*orderv1.OrderItem{{SkuId: sku, Quantity: units}}}
		return message(t, event.OrderCreated, o.GetId(), &orderv1.OrderCreated{Order: o})
	}
	list := func(sku string) {
		if _, err := store.PutItem(t.Context(), s.db, stock.Item{SKU: sku, Name: "Tea", UnitPrice: 450, Currency: "EUR"}, "test"); err != nil {
			t.Fatal(err)
		}
	}
	list("tea")
	garbage := ordered("tea", 1)
	garbage.Value = []byte("\xff\xff")
	events := []outbox.Message{garbage, ordered("tea", 0), ordered("mug", 1)}
	for range 50 {
		events = append(events, ordered("tea", 1))
	}
	s.send(t, events...)
	s.await(t, "SELECT count(*) FROM bookings", 50)
	list("mug") // inside the second in which the record waits, or while it is tried again
	for query, want := range map[string]int64{
		"SELECT count(*) FROM bookings":                                           51,
		"SELECT count(*) FROM movements WHERE sku = 'mug'":                        1,
		"SELECT count(DISTINCT value) FROM outbox WHERE topic = 'dlq-raw-errors'": 1,
		"SELECT count(DISTINCT value) FROM outbox WHERE topic = 'dlq-orders-v1'":  1,
		"SELECT -granted_unsold FROM stock WHERE sku = 'tea'":                     50,
	} {
		s.await(t, query, want)
	}
}

func TestReadinessTellsTheTruth(t *testing.T) {
	t.Parallel()
	cfg := settings(t)
	cfg.Database.Migrate = false
	cfg.Run.Port, cfg.Run.OpsPort = servertest.FreePort(t), servertest.FreePort(t)
	servertest.ReadinessTellsTheTruth(t, servertest.Service{
		Door: cfg.Run.Addr(), Ops: cfg.Run.OpsAddr(),
		Migrate: func(ctx context.Context) error { return inventory.Migrate(ctx, cfg) },
		Serve:   func(ctx context.Context) error { return inventory.Run(ctx, cfg) },
	})
}

func TestSettingsComplainAtOnce(t *testing.T) {
	t.Parallel()
	cfg := inventory.Defaults()
	if bad := cfg.Check(); len(bad) != 1 {
		t.Errorf("without a DSN: %q", bad)
	}
	cfg.Run.Port = 0
	if bad := cfg.Check(); len(bad) != 2 {
		t.Errorf("without a DSN and a port: %q", bad)
	}
}
