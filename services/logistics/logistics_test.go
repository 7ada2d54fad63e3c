package logistics_test

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
	"github.com/floodgate-dev/floodgate/services/logistics"
)

// service is the service as it runs in production, on a database and topics of its own.
type service struct {
	db     *database.DB
	writer *kafka.Writer
	ended  chan error
}

func settings(t *testing.T) logistics.Config {
	t.Helper()
	cfg := logistics.Defaults()
	cfg.Database.DSN = config.Secret(servertest.PostgresDSN(t))
	cfg.Kafka.Brokers, cfg.Kafka.TopicPrefix = servertest.Kafka(t)
	cfg.Kafka.Partitions, cfg.Kafka.Replication = 4, 1
	cfg.Run.Port, cfg.Run.OpsPort = 0, 0 // any that is free
	return cfg
}

func start(t *testing.T) service {
	t.Helper()
	cfg := settings(t)
	if err := logistics.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := kafka.EnsureTopics(t.Context(), cfg.Kafka, event.Topics(), event.Groups()); err != nil {
		t.Fatal(err)
	}
	s := service{db: servertest.Open(t, cfg.Database.DSN.Reveal()), writer: kafka.NewWriter(cfg.Kafka), ended: make(chan error, 1)}
	ctx, stop := context.WithCancel(context.Background())
	go func() { s.ended <- logistics.Run(ctx, cfg) }()
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
	deadline, tick := time.After(90*time.Second), time.NewTicker(50*time.Millisecond)
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

// Of 90 paid orders a third is refunded. Every event comes three times, in any order.
func TestSumsAreExactWhateverComesTwice(t *testing.T) {
	t.Parallel()
	s := start(t)
	var events, last []outbox.Message
	for i := range 90 {
		o := &orderv1.Order{Id: uuid.NewString(), UserId: "u-1"}
		moves := []*orderv1.OrderStatusChanged{moved(o, orderv1.OrderStatus_ORDER_STATUS_CONFIRMED, orderv1.OrderStatus_ORDER_STATUS_PAID)}
		if i%3 == 0 {
			moves = append(moves, moved(o, orderv1.OrderStatus_ORDER_STATUS_PAID, orderv1.OrderStatus_ORDER_STATUS_REFUNDED))
		}
		for _, m := range moves {
			for range 3 {
				events = append(events, message(t, event.OrderStatusChanges, o.GetId(), m))
			}
		}
	}
	rand.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	s.send(t, events...)
	// What comes last on every partition says that all before it was read.
	for range 100 {
		o := &orderv1.Order{Id: uuid.NewString(), UserId: "last"}
		m := moved(o, orderv1.OrderStatus_ORDER_STATUS_CONFIRMED, orderv1.OrderStatus_ORDER_STATUS_PAID)
		m.By = "last"
		last = append(last, message(t, event.OrderStatusChanges, o.GetId(), m))
	}
	s.send(t, last...)
	s.await(t, "SELECT count(*) FROM steps WHERE told_by = 'last'", 100)
	for query, want := range map[string]int64{
		"SELECT count(*) FROM shipments WHERE status = 'created'":                      60 + 100,
		"SELECT count(*) FROM shipments WHERE status = 'called_off'":                   30,
		"SELECT count(*) FROM steps":                                                   190 + 30,
		"SELECT count(*) FROM outbox WHERE topic = 'shipment-changes'":                 190 + 30,
		"SELECT count(DISTINCT event_id) FROM outbox WHERE topic = 'shipment-changes'": 190 + 30,
		"SELECT count(*) FROM outbox WHERE topic LIKE 'dlq-%'":                         0,
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
		Migrate: func(ctx context.Context) error { return logistics.Migrate(ctx, cfg) },
		Serve:   func(ctx context.Context) error { return logistics.Run(ctx, cfg) },
	})
}

func TestSettingsComplainAtOnce(t *testing.T) {
	t.Parallel()
	cfg := logistics.Defaults()
	if bad := cfg.Check(); len(bad) != 1 {
		t.Errorf("without a DSN: %q", bad)
	}
	cfg.Run.Port = 0
	if bad := cfg.Check(); len(bad) != 2 {
		t.Errorf("without a DSN and a port: %q", bad)
	}
}
