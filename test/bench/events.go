package bench

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/proto/event"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	"github.com/floodgate-dev/floodgate/test/suite"
)

const (
	rowRelay    = "the relay, a backlog"
	rowConsumer = "a consumer, points' handler, a backlog"
	rowAck      = "from COMMIT to Kafka's acknowledgement"
	rowAckRate  = rowAck + ", events committed"
)

// ackRate is how many events a second are committed while their way to Kafka is timed.
const ackRate = 5000

// announced is order i as order-api tells of it.
func announced(i int) *orderv1.Order {
	return &orderv1.Order{
		Id: uuid.Must(uuid.NewV7()).String(), UserId: fmt.Sprint("customer-", i%1000), Status: orderv1.OrderStatus_ORDER_STATUS_CREATED,
		Payment: orderv1.PaymentMode_PAYMENT_MODE_CAPTURED, TotalCents: 450, Currency: "EUR", Version: 1,
		CreatedAtUnixMs: time.Now().UnixMilli(), UpdatedAtUnixMs: time.Now().UnixMilli(),
		Items: []*orderv1.OrderItem{{SkuId: "sku-0", Quantity: 1, UnitPriceCents: 450}},
	}
}

// created are the events that n new orders put into the outbox.
func created(tb testing.TB, n int) []outbox.Event {
	tb.Helper()
	events := make([]outbox.Event, n)
	for i := range events {
		o := announced(i)
		m := &orderv1.OrderCreated{Order: o}
		value, err := proto.Marshal(m)
		if err != nil {
			tb.Fatal(err)
		}
		events[i] = outbox.Event{ID: "order/" + o.GetId() + "/1", Type: event.Type(m), Topic: event.OrderCreated, Key: []byte(o.GetId()), Value: value, Version: 1}
	}
	return events
}

// paid are the records that tell of n orders being paid.
func paid(tb testing.TB, n int) []outbox.Message {
	tb.Helper()
	messages := make([]outbox.Message, n)
	for i := range messages {
		o := announced(i)
		o.Status, o.Version, o.PaymentRef = orderv1.OrderStatus_ORDER_STATUS_PAID, 2, "captured"
		m := &orderv1.OrderStatusChanged{
			OrderId: o.GetId(), From: orderv1.OrderStatus_ORDER_STATUS_CREATED, To: o.GetStatus(), Version: 2, AtUnixMs: o.GetUpdatedAtUnixMs(),
			By: "inventory", Order: o,
		}
		value, err := proto.Marshal(m)
		if err != nil {
			tb.Fatal(err)
		}
		messages[i] = outbox.Message{Topic: event.OrderStatusChanges, Key: []byte(o.GetId()), Value: value, Headers: []outbox.Header{
			{Key: "ce_specversion", Value: []byte("1.0")},
			{Key: "ce_id", Value: []byte("order/" + o.GetId() + "/2")},
			{Key: "ce_type", Value: []byte(event.Type(m))},
			{Key: "ce_source", Value: []byte("order-api")},
			{Key: "content-type", Value: []byte("application/protobuf")},
			{Key: "aggregate-version", Value: []byte("2")},
		}}
	}
	return messages
}

// outboxOf is a database with an outbox alone, and Kafka behind it.
type outboxOf struct {
	db     *database.DB
	host   string // of the database
	broker string
	writer *kafka.Writer
}

func openOutbox(tb testing.TB) outboxOf {
	tb.Helper()
	dsn := servertest.PostgresDSN(tb)
	u, err := url.Parse(dsn)
	if err != nil {
		tb.Fatal(err)
	}
	o := outboxOf{db: servertest.Open(tb, dsn), host: u.Host}
	if err := database.Migrate(tb.Context(), o.db, outbox.Migrations); err != nil {
		tb.Fatal(err)
	}
	cfg := kafkaOf(tb)
	o.broker = cfg.Brokers[0]
	if err := kafka.EnsureTopics(tb.Context(), cfg, event.Topics(), nil); err != nil {
		tb.Fatal(err)
	}
	o.writer = kafka.NewWriter(cfg)
	tb.Cleanup(func() { _ = o.writer.Close() }) // nothing is in flight
	return o
}

// kafkaOf are settings for topics that nobody else has; they go with the benchmark.
func kafkaOf(tb testing.TB) kafka.Config {
	tb.Helper()
	cfg := kafka.Defaults()
	cfg.Brokers, cfg.TopicPrefix = servertest.Kafka(tb)
	cfg.Partitions, cfg.Replication = 4, 1
	tb.Cleanup(func() { suite.DropTopics(tb, cfg.Brokers, cfg.TopicPrefix) })
	return cfg
}

// append commits events, many in one transaction.
func (o outboxOf) append(ctx context.Context, events []outbox.Event) error {
	return o.db.Tx(ctx, func(tx *database.Tx) error { return outbox.AppendTx(ctx, tx, events...) })
}

// postman hands messages on and tells when each was acknowledged.
type postman struct {
	next  outbox.Sender
	acked func(messages []outbox.Message)
}

func (p postman) Send(ctx context.Context, messages []outbox.Message) error {
	if err := p.next.Send(ctx, messages); err != nil {
		return err
	}
	p.acked(messages)
	return nil
}

// relay runs a relay until stop is called.
func (o outboxOf) relay(ctx context.Context, acked func([]outbox.Message)) (r *outbox.Relay, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	r = outbox.NewRelay(outbox.RelayConfig{DB: o.db, Sender: postman{o.writer, acked}, Source: "order-api"})
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) }) // nil: it waits out what fails
	return r, func() { cancel(); running.Wait() }
}

// events measures what follows an order, part by part: the relay and a consumer before a backlog, and an event's way
// from its COMMIT into Kafka while events come at a steady rate.
func events(b *testing.B, r *report, rounds int, during time.Duration, quick bool) {
	b.Helper()
	r.chapter("After the order", "The relay (`pkg/outbox`, with the writer of `pkg/kafka`, acks=all) sends a backlog of `OrderCreated`; points (its own process, "+
		"its real handler and its own outbox) applies a backlog of `OrderStatusChanged`. Rates count from the first that was done to the last. "+
		fmt.Sprintf("Then %d events a second are committed, ten in a transaction, and each is timed from the return of its COMMIT until Kafka has acknowledged it.", ackRate))
	backlog := 200_000
	if quick {
		backlog = 40_000
	}
	o := openOutbox(b)
	for range rounds {
		o.drain(b, r, backlog)
	}
	p := suite.Start(b, suite.Config{Services: []string{"points"}})
	for range rounds {
		applyBacklog(b, r, p, backlog/2)
	}
	for range rounds {
		o.acks(b, r, during)
	}
}

// drain measures the relay.
func (o outboxOf) drain(b *testing.B, r *report, backlog int) {
	b.Helper()
	all := created(b, backlog)
	for page := range slices.Chunk(all, 2000) {
		if err := o.append(b.Context(), page); err != nil {
			b.Fatal(err)
		}
	}
	var first time.Time
	var sent, early int
	done := make(chan time.Time, 1)
	before := spent{"the relay": alone(os.Getpid()), partPostgres: cpu(listener(b, o.host)), partKafka: cpu(listener(b, o.broker))}
	_, stop := o.relay(b.Context(), func(messages []outbox.Message) { // one send at a time
		if sent += len(messages); first.IsZero() {
			first, early = time.Now(), sent
		}
		if sent == backlog {
			done <- time.Now()
		}
	})
	var last time.Time
	select {
	case last = <-done:
	case <-time.After(2 * time.Minute):
		b.Fatal("the relay did not send the backlog within 2 min")
	}
	each, _ := spent{"the relay": alone(os.Getpid()), partPostgres: cpu(listener(b, o.host)), partKafka: cpu(listener(b, o.broker))}.since(before, int64(backlog))
	stop()
	rate := float64(backlog-early) / last.Sub(first).Seconds()
	progress("%-40s %7.0f/s", rowRelay, rate)
	r.sample(rowRelay, "events/s", rate)
	for _, part := range []string{"the relay", partPostgres, partKafka} {
		r.detail(rowRelay+", "+part, "µs/event", each[part])
	}
}

// acks measures the way from COMMIT to acknowledgement.
func (o outboxOf) acks(b *testing.B, r *report, during time.Duration) {
	b.Helper()
	const writers, together = 2, 10
	acks := make(chan map[string]time.Time, 1)
	acks <- map[string]time.Time{}
	relay, stop := o.relay(b.Context(), func(messages []outbox.Message) {
		now, all := time.Now(), <-acks
		for _, m := range messages {
			all[string(m.Key)] = now
		}
		acks <- all
	})
	defer stop()
	suite.WaitFor(b, 20*time.Second, relay.Health)
	commits := make([]map[string]time.Time, writers)
	gap := time.Second * writers * together / ackRate
	began := time.Now()
	var wg sync.WaitGroup
	for w := range writers {
		mine := created(b, int(during/gap)*together)
		commits[w] = make(map[string]time.Time, len(mine))
		wg.Go(func() {
			next := time.Now()
			for page := range slices.Chunk(mine, together) {
				if early := time.Until(next); early > 0 {
					<-time.After(early)
				}
				next = next.Add(gap)
				if err := o.append(b.Context(), page); err != nil {
					b.Error(err)
					return
				}
				now := time.Now()
				relay.Wake()
				for _, e := range page {
					commits[w][string(e.Key)] = now
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	var committed int
	for _, all := range commits {
		committed += len(all)
	}
	suite.WaitFor(b, 30*time.Second, func() error {
		all := <-acks
		defer func() { acks <- all }()
		if len(all) < committed {
			return fmt.Errorf("%d of %d events are acknowledged", len(all), committed)
		}
		return nil
	})
	all, waits := <-acks, newHistogram()
	for _, mine := range commits {
		for key, at := range mine {
			_ = waits.RecordValue(max(1, all[key].Sub(at).Microseconds())) // a minute at most: they are all here
		}
	}
	acks <- all
	p50, p99 := float64(waits.ValueAtQuantile(50))/1000, float64(waits.ValueAtQuantile(99))/1000
	progress("%-40s p50 %.1f ms, p99 %.1f ms", rowAck, p50, p99)
	r.sample(rowAck+", p50", "ms", p50)
	r.sample(rowAck+", p99", "ms", p99)
	r.sample(rowAckRate, "events/s", float64(committed)/took.Seconds())
}

// applyBacklog measures points: what it missed while it was down.
func applyBacklog(b *testing.B, r *report, p *suite.Suite, backlog int) {
	b.Helper()
	db, points := p.Database(b, "points"), p.Part("points", 0)
	applied := func() (n int) {
		if err := db.QueryRowContext(b.Context(), `SELECT COALESCE(SUM(applied), 0) FROM consumer_offsets`).Scan(&n); err != nil {
			b.Fatal(err)
		}
		return n
	}
	before := applied()
	points.Terminate()
	cfg := kafka.Defaults()
	cfg.Brokers, cfg.TopicPrefix = p.Stores.Brokers, p.Stores.Prefix
	writer := kafka.NewWriter(cfg)
	if err := writer.Send(b.Context(), paid(b, backlog)); err != nil {
		b.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		b.Fatal(err)
	}
	points.Start()
	var first time.Time
	var early int
	deadline := time.Now().Add(2 * time.Minute)
	for n := applied(); n < before+backlog; n = applied() {
		if first.IsZero() && n > before {
			first, early = time.Now(), n-before
		}
		if time.Now().After(deadline) {
			b.Fatalf("points applied %d of %d records within 2 min", n-before, backlog)
		}
		<-time.After(10 * time.Millisecond)
	}
	rate := float64(backlog-early) / time.Since(first).Seconds()
	points.WaitReady(time.Minute)
	var entries int
	if err := db.QueryRowContext(b.Context(), `SELECT COUNT(*) FROM ledger`).Scan(&entries); err != nil {
		b.Fatal(err)
	}
	if entries != before+backlog {
		b.Fatalf("the run is void: the ledger has %d entries, %d orders were paid", entries, before+backlog)
	}
	each := float64(cpu(points.PID()).Microseconds()) / float64(backlog) // it has just started
	progress("%-40s %7.0f/s", rowConsumer, rate)
	r.sample(rowConsumer, "messages/s", rate)
	r.sample(rowConsumer+", points' CPU", "µs/message", each)
}
