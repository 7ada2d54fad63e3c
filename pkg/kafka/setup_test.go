package kafka_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	segment "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

const (
	topic = "things"
	group = "collector"
)

// bundle is a broker, a database with the tables of a consumer, and a handler whose effects are rows of the table seen.
type bundle struct {
	t       *testing.T
	cfg     kafka.Config
	db      *database.DB
	dsn     string
	writer  *kafka.Writer
	backoff time.Duration
	meter   *metric.MeterProvider // of all consumers
	meters  *metric.ManualReader
	said    log // by all consumers

	mu   sync.Mutex         // guards hurt
	hurt func(string) error // the handler's answer to a record by its value; nil for success
}

// log keeps what was logged, and hands it on.
type log struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
	to   io.Writer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	return l.to.Write(p)
}

// has says whether one line has all of words.
func (l *log) has(words ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return true
		}
	}
	return false
}

// setup is a bundle on the real broker and Postgres.
func setup(t *testing.T) *bundle {
	t.Helper()
	brokers, prefix := servertest.Kafka(t)
	cfg := kafka.Defaults()
	cfg.Brokers, cfg.TopicPrefix = brokers, prefix
	return prepare(t, cfg, servertest.PostgresDSN(t))
}

// embedded is a bundle on the parts of `make run`.
func embedded(t *testing.T, more ...kfake.Opt) *bundle {
	t.Helper()
	broker, err := kfake.NewCluster(append(more, kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	cfg := kafka.Defaults()
	cfg.Brokers = broker.ListenAddrs()
	return prepare(t, cfg, servertest.SQLiteDSN(t))
}

func prepare(t *testing.T, cfg kafka.Config, dsn string) *bundle {
	t.Helper()
	cfg.Partitions, cfg.Replication, cfg.SessionTimeout = 2, 1, 3*time.Second
	b := &bundle{t: t, cfg: cfg, dsn: dsn, db: servertest.Open(t, dsn), writer: kafka.NewWriter(cfg), backoff: 20 * time.Millisecond}
	b.meters, b.said.to = metric.NewManualReader(), t.Output()
	b.meter = metric.NewMeterProvider(metric.WithReader(b.meters))
	if cfg.TopicPrefix != "" { // others use this broker
		t.Cleanup(b.sweep)
	}
	t.Cleanup(func() { _ = b.writer.Close() })
	if err := database.Migrate(t.Context(), b.db, outbox.Migrations, kafka.Migrations); err != nil {
		t.Fatal(err)
	}
	b.must(b.db.Tx(t.Context(), func(tx *database.Tx) error {
		_, err := tx.ExecContext(t.Context(), `CREATE TABLE seen (id text PRIMARY KEY, key text NOT NULL, n bigint NOT NULL, times int NOT NULL);
			CREATE INDEX seen_n ON seen (n)`)
		return err
	}))
	b.must(kafka.EnsureTopics(t.Context(), cfg, []string{topic}, []string{group}))
	b.start(relay(b))
	return b
}

// ask puts a question to the broker; it keeps nothing that an earlier one brought. The test may have ended.
func (b *bundle) ask(question func(context.Context, *segment.Client) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.t.Context()), 30*time.Second)
	defer cancel()
	transport := &segment.Transport{}
	defer transport.CloseIdleConnections()
	return question(ctx, &segment.Client{Addr: segment.TCP(b.cfg.Brokers...), Transport: transport})
}

func (b *bundle) deleteTopics(names ...string) error {
	return b.ask(func(ctx context.Context, c *segment.Client) error {
		_, err := c.DeleteTopics(ctx, &segment.DeleteTopicsRequest{Topics: names})
		return err
	})
}

// sweep deletes the test's topics: every client asks a broker for all that it has, so what tests leave slows all others.
func (b *bundle) sweep() {
	var names []string
	for name := range b.partitionsOf() {
		names = append(names, b.cfg.TopicPrefix+name)
	}
	if err := b.deleteTopics(names...); err != nil {
		b.t.Errorf("sweep the test's topics: %v", err)
	}
}

func relay(b *bundle) func(context.Context) error {
	return outbox.NewRelay(outbox.RelayConfig{DB: b.db, Sender: b.writer, Source: "test"}).Run
}

// start runs part until the test ends, or until the function it returns is called.
func (b *bundle) start(part func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- part(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("a part ended with %v", err)
		}
	})
	b.t.Cleanup(stop)
	return stop
}

func (b *bundle) consumer(more ...func(*kafka.ConsumerConfig)) *kafka.Consumer {
	cfg := kafka.ConsumerConfig{
		Group: group, Topics: []string{topic}, Handle: b.handle, DB: b.db, Kafka: b.cfg,
		Backoff: func(int) time.Duration { return b.backoff },
		Log:     slog.New(slog.NewTextHandler(&b.said, nil)),
		Meter:   b.meter,
	}
	for _, f := range more {
		f(&cfg)
	}
	return kafka.NewConsumer(cfg)
}

// fails sets what the handler answers to each record.
func (b *bundle) fails(f func(value string) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hurt = f
}

// handle keeps each value, when it was first seen, and how often its effects were made.
func (b *bundle) handle(ctx context.Context, tx *database.Tx, records []kafka.Record) ([]bool, error) {
	changed := make([]bool, len(records))
	for i, r := range records {
		times, err := insert(ctx, tx, r)
		if err != nil {
			return nil, err
		}
		changed[i] = times == 1
		b.mu.Lock()
		hurt := b.hurt
		b.mu.Unlock()
		if hurt != nil {
			if err := hurt(string(r.Value)); err != nil {
				return nil, err
			}
		}
	}
	return changed, nil
}

func insert(ctx context.Context, tx *database.Tx, r kafka.Record) (times int64, err error) {
	err = tx.QueryRowContext(ctx, `INSERT INTO seen (id, key, n, times) SELECT $1, $2, coalesce(max(n), 0) + 1, 1 FROM seen WHERE true
		ON CONFLICT (id) DO UPDATE SET times = seen.times + 1 RETURNING times`,
		fmt.Sprintf("%q", r.Value), fmt.Sprintf("%q", r.Key)).Scan(&times)
	return times, err
}

func (b *bundle) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bundle) send(topic string, messages ...outbox.Message) {
	b.t.Helper()
	for i := range messages {
		messages[i].Topic = topic
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	err := b.writer.Send(ctx, messages)
	for unheard(err) && ctx.Err() == nil {
		err = b.writer.Send(ctx, messages)
	}
	b.must(err)
}

// unheard says that a writer has not heard of a new topic yet. A relay tries again for any error; here, what may have been
// written must not be sent twice.
func unheard(err error) bool {
	return errors.Is(err, segment.UnknownTopicOrPartition) || errors.Is(err, protocol.ErrNoTopic)
}

// numbered are n messages over ten keys, valued 0, 1, 2 …
func numbered(from, n int) []outbox.Message {
	out := make([]outbox.Message, n)
	for i := range out {
		out[i] = outbox.Message{
			Key: fmt.Appendf(nil, "key-%d", (from+i)%10), Value: fmt.Append(nil, from+i),
			Headers: []outbox.Header{{Key: "ce_id", Value: fmt.Appendf(nil, "id/%d", from+i)}},
		}
	}
	return out
}

// await polls until ok, and fails with what it last said.
func (b *bundle) await(what string, ok func() (bool, string)) {
	b.t.Helper()
	deadline := time.Now().Add(time.Minute) // a commit waits for the disk, which tests and servers share
	for {
		done, said := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: still %s", what, said)
		}
		select {
		case <-b.t.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (b *bundle) count(query string, args ...any) (n int64) {
	b.t.Helper()
	var v sql.NullInt64
	b.must(b.db.QueryRowContext(b.t.Context(), query, args...).Scan(&v))
	return v.Int64
}

func (b *bundle) awaitSeen(n int64) {
	b.t.Helper()
	b.await("effects", func() (bool, string) {
		got := b.count(`SELECT count(*) FROM seen`)
		return got == n, fmt.Sprintf("%d of %d", got, n)
	})
}

// awaitPassed waits until the group has gone past n records of the topic.
func (b *bundle) awaitPassed(n int64) {
	b.t.Helper()
	b.await("passed records", func() (bool, string) {
		got := b.count(`SELECT sum(next - first) FROM consumer_offsets WHERE topic = $1`, topic)
		return got >= n, fmt.Sprintf("%d of %d", got, n)
	})
}

// once checks that no effect was made twice.
func (b *bundle) once() {
	b.t.Helper()
	if n := b.count(`SELECT count(*) FROM seen WHERE times > 1`); n != 0 {
		b.t.Errorf("%d effects were made more than once", n)
	}
}

// blamesNobody checks that no record was parked or buried.
func (b *bundle) blamesNobody() {
	b.t.Helper()
	parked, dead := b.count(`SELECT sum(parked) FROM consumer_offsets`), b.count(`SELECT sum(dead) FROM consumer_offsets`)
	if letters := b.count(`SELECT count(*) FROM outbox`); parked+dead+letters != 0 || b.said.has("was parked") {
		b.t.Errorf("parked %d, dead %d, letters %d; want none", parked, dead, letters)
	}
}

// metric is the sum of a metric's points whose attributes have all of those given.
func (b *bundle) metric(name string, want ...attribute.KeyValue) (n int64, found bool) {
	b.t.Helper()
	var all metricdata.ResourceMetrics
	b.must(b.meters.Collect(b.t.Context(), &all))
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != name {
				continue
			}
			for _, p := range points(m.Data) {
				if !slices.ContainsFunc(want, func(kv attribute.KeyValue) bool { v, _ := p.Attributes.Value(kv.Key); return v != kv.Value }) {
					n, found = n+p.Value, true
				}
			}
		}
	}
	return n, found
}

func points(data metricdata.Aggregation) []metricdata.DataPoint[int64] {
	switch data := data.(type) {
	case metricdata.Sum[int64]:
		return data.DataPoints
	case metricdata.Gauge[int64]:
		return data.DataPoints
	}
	return nil
}

// balance checks that every record that was passed is accounted for.
func (b *bundle) balance() {
	b.t.Helper()
	rows, err := kafka.Offsets(b.t.Context(), b.db)
	b.must(err)
	for _, r := range rows {
		if r.Next-r.First != r.Applied+r.Parked+r.Dead {
			b.t.Errorf("%s/%d: passed %d, applied %d, parked %d, dead %d", r.Topic, r.Partition, r.Next-r.First, r.Applied, r.Parked, r.Dead)
		}
	}
}

// records waits until a topic has n records and returns what it has, over all partitions.
func (b *bundle) records(topic string, n int) (all []kafka.Record) {
	b.t.Helper()
	b.await("records of "+topic, func() (bool, string) {
		all = nil
		for partition := range b.cfg.Partitions {
			all = append(all, b.log(topic, partition)...)
		}
		return len(all) >= n, fmt.Sprintf("%d of %d", len(all), n)
	})
	return all
}

// log is all that one partition holds.
func (b *bundle) log(topic string, partition int) (all []kafka.Record) {
	b.t.Helper()
	r := segment.NewReader(segment.ReaderConfig{Brokers: b.cfg.Brokers, Topic: b.cfg.TopicPrefix + topic, Partition: partition, MaxWait: 50 * time.Millisecond})
	defer func() { _ = r.Close() }()
	lag, err := r.ReadLag(b.t.Context())
	b.must(err)
	for ; lag > 0; lag-- {
		m, err := r.ReadMessage(b.t.Context())
		b.must(err)
		rec := kafka.Record{Topic: topic, Partition: m.Partition, Offset: m.Offset, Key: m.Key, Value: m.Value}
		for _, h := range m.Headers {
			rec.Headers = append(rec.Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
		all = append(all, rec)
	}
	return all
}

var errHurt = errors.New("it hurts")

// Whoever is stopped or closed leaves nothing running: a forgotten client asks its broker for metadata for ever.
//
// Most tests wait for brokers, so more of them run at once than there are cores.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6") // the command line is parsed later and wins
	goleak.VerifyTestMain(m)
}
