package kafka

import (
	"context"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// meters count what the runtime does. Lag keeps the name that dashboards everywhere know.
type meters struct {
	group   attribute.KeyValue
	lags    *lags
	records metric.Int64Counter
	letters metric.Int64Counter
	alarms  metric.Int64Counter
	waits   metric.Int64Counter
	replays metric.Int64Counter

	// What the conventions of OpenTelemetry say of messaging.
	polled, processed metric.Float64Histogram
	consumed          metric.Int64Counter
}

// lags are those of the partitions that the member owns. A gauge that was only set would go on telling the lag of a
// partition that another member has taken over.
type lags struct {
	mu     sync.Mutex // guards behind and parked
	behind map[place]int64
	parked map[place]int64
}

type place struct {
	topic     string
	partition int
}

func newMeters(provider metric.MeterProvider, group string) meters {
	if provider == nil {
		provider = noop.NewMeterProvider()
	}
	m := provider.Meter("floodgate/kafka")
	out := meters{group: attribute.String("consumergroup", group), lags: &lags{behind: map[place]int64{}, parked: map[place]int64{}}}
	// Instruments with constant, valid names: their errors cannot happen.
	lag, _ := m.Int64ObservableGauge("kafka_consumergroup_lag", metric.WithUnit("{record}"), metric.WithDescription("Records between the group's own offset and the log's end."))
	// Registered for itself: of instruments with one name, as groups of one process have, only the first keeps the callback it is made with.
	parked, _ := m.Int64ObservableGauge("floodgate.consumer.parked", metric.WithUnit("{record}"),
		metric.WithDescription("Records that failed and wait to be tried again, in the partitions this member owns."))
	_, _ = m.RegisterCallback(func(_ context.Context, o metric.Observer) error { out.observeLags(o, lag, parked); return nil }, lag, parked)
	out.records, _ = m.Int64Counter("floodgate.consumer.records", metric.WithDescription("Records settled, by outcome."))
	out.letters, _ = m.Int64Counter("floodgate.consumer.dead_letters", metric.WithDescription("Records dead-lettered, by kind of error."))
	out.alarms, _ = m.Int64Counter("floodgate.consumer.alarms", metric.WithDescription("Offsets found outside their log, by reason; each may mean lost records."))
	out.waits, _ = m.Int64Counter("floodgate.consumer.waits", metric.WithDescription("Times a partition waited for the database or Kafka."))
	out.replays, _ = m.Int64Counter("floodgate.replays", metric.WithUnit("{letter}"),
		metric.WithDescription("Letters that were sent back to the group, by what became of them and whether it was a rehearsal."))
	out.polled, _ = m.Float64Histogram("messaging.client.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("How long sends and polls that brought records took."))
	out.processed, _ = m.Float64Histogram("messaging.process.duration", metric.WithUnit("s"),
		metric.WithDescription("How long a batch of records took from its transaction's begin to its commit."))
	out.consumed, _ = m.Int64Counter("messaging.client.consumed.messages", metric.WithUnit("{message}"),
		metric.WithDescription("Records that were read."))
	return out
}

func (m meters) of(p *partition, more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributes(append(more, m.group, attribute.String("topic", p.topic))...)
}

func (m meters) observeLags(o metric.Observer, lag, parked metric.Int64Observable) {
	m.lags.mu.Lock()
	defer m.lags.mu.Unlock()
	for at, n := range m.lags.behind {
		o.ObserveInt64(lag, n, metric.WithAttributes(m.group, attribute.String("topic", at.topic), attribute.String("partition", strconv.Itoa(at.partition))))
	}
	topics := map[string]int64{}
	for at, n := range m.lags.parked {
		topics[at.topic] += n
	}
	for topic, n := range topics {
		o.ObserveInt64(parked, n, metric.WithAttributes(m.group, attribute.String("topic", topic)))
	}
}

// stands notes how many records of a partition wait to be tried again.
func (m meters) stands(p *partition) {
	m.lags.mu.Lock()
	defer m.lags.mu.Unlock()
	m.lags.parked[place{p.topic, p.id}] = p.offsets.parked
}

func (m meters) lag(p *partition, n int64) {
	m.lags.mu.Lock()
	defer m.lags.mu.Unlock()
	m.lags.behind[place{p.topic, p.id}] = n
}

func (m meters) released(p *partition) {
	m.lags.mu.Lock()
	defer m.lags.mu.Unlock()
	delete(m.lags.behind, place{p.topic, p.id})
	delete(m.lags.parked, place{p.topic, p.id})
}

// taken shows what alarms look at from the start, so that its first count is seen to be an increase.
func (m meters) taken(ctx context.Context, p *partition) {
	for _, reason := range []string{topicMadeAnew, retentionOverran} {
		m.alarms.Add(ctx, 0, m.of(p, attribute.String("reason", reason)))
	}
	m.waits.Add(ctx, 0, m.of(p))
}

func (m meters) settled(ctx context.Context, p *partition, outcome string, n int) {
	m.records.Add(ctx, int64(n), m.of(p, attribute.String("outcome", outcome)))
}

func (m meters) died(ctx context.Context, p *partition, kind string) {
	m.letters.Add(ctx, 1, m.of(p, attribute.String("kind", kind)))
	m.settled(ctx, p, "dead", 1)
}

// Why an offset was found outside its log.
const (
	topicMadeAnew    = "topic-made-anew"
	retentionOverran = "retention-overran"
)

func (m meters) alarm(ctx context.Context, p *partition, reason string) {
	m.alarms.Add(ctx, 1, m.of(p, attribute.String("reason", reason)))
}

func (m meters) waiting(ctx context.Context, p *partition) { m.waits.Add(ctx, 1, m.of(p)) }

// messaging is what the conventions want said of an operation on a topic.
func messaging(operation, topic string) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("messaging.system", "kafka"), attribute.String("messaging.operation.name", operation),
		attribute.String("messaging.destination.name", topic),
	}
}

func (m meters) about(p *partition, operation string) metric.MeasurementOption {
	return metric.WithAttributes(append(messaging(operation, p.topic), attribute.String("messaging.consumer.group.name", m.group.Value.AsString()))...)
}

func (m meters) read(ctx context.Context, p *partition, took time.Duration, n int) {
	about := m.about(p, "poll")
	m.polled.Record(ctx, took.Seconds(), about)
	m.consumed.Add(ctx, int64(n), about)
}

func (m meters) worked(ctx context.Context, p *partition, took time.Duration, err error) {
	about := m.about(p, "process")
	if err == nil {
		m.processed.Record(ctx, took.Seconds(), about)
		return
	}
	m.processed.Record(ctx, took.Seconds(), about, metric.WithAttributes(attribute.String("error.type", kindOf(err))))
}

func (m meters) replayed(ctx context.Context, o Outcome) {
	m.replays.Add(ctx, 1, metric.WithAttributes(m.group, attribute.String("outcome", string(o.Kind)), attribute.Bool("dry_run", o.DryRun)))
}
