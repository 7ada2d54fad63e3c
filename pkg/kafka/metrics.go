package kafka

import (
	"context"
	"strconv"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// meters count what the runtime does. Lag keeps the name that dashboards everywhere know.
type meters struct {
	group   attribute.KeyValue
	lags    *lags
	records metric.Int64Counter
	letters metric.Int64Counter
	alarms  metric.Int64Counter
	waits   metric.Int64Counter
}

// lags are those of the partitions that the member owns. A gauge that was only set would go on telling the lag of a
// partition that another member has taken over.
type lags struct {
	mu     sync.Mutex // guards behind
	behind map[place]int64
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
	out := meters{group: attribute.String("consumergroup", group), lags: &lags{behind: map[place]int64{}}}
	// Instruments with constant, valid names: their errors cannot happen.
	lag, _ := m.Int64ObservableGauge("kafka_consumergroup_lag", metric.WithDescription("Records between the group's own offset and the log's end."))
	// Registered for itself: of instruments with one name, as groups of one process have, only the first keeps the callback it is made with.
	_, _ = m.RegisterCallback(func(_ context.Context, o metric.Observer) error { out.observeLags(o, lag); return nil }, lag)
	out.records, _ = m.Int64Counter("floodgate.consumer.records", metric.WithDescription("Records settled, by outcome."))
	out.letters, _ = m.Int64Counter("floodgate.consumer.dead_letters", metric.WithDescription("Records dead-lettered, by kind of error."))
	out.alarms, _ = m.Int64Counter("floodgate.consumer.alarms", metric.WithDescription("Offsets found outside their log, by reason; each may mean lost records."))
	out.waits, _ = m.Int64Counter("floodgate.consumer.waits", metric.WithDescription("Times a partition waited for the database or Kafka."))
	return out
}

func (m meters) of(p *partition, more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributes(append(more, m.group, attribute.String("topic", p.topic))...)
}

func (m meters) observeLags(o metric.Observer, gauge metric.Int64Observable) {
	m.lags.mu.Lock()
	defer m.lags.mu.Unlock()
	for at, n := range m.lags.behind {
		o.ObserveInt64(gauge, n, metric.WithAttributes(m.group, attribute.String("topic", at.topic), attribute.String("partition", strconv.Itoa(at.partition))))
	}
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
}

func (m meters) settled(ctx context.Context, p *partition, outcome string, n int) {
	m.records.Add(ctx, int64(n), m.of(p, attribute.String("outcome", outcome)))
}

func (m meters) died(ctx context.Context, p *partition, kind string) {
	m.letters.Add(ctx, 1, m.of(p, attribute.String("kind", kind)))
	m.settled(ctx, p, "dead", 1)
}

func (m meters) alarm(ctx context.Context, p *partition, reason string) {
	m.alarms.Add(ctx, 1, m.of(p, attribute.String("reason", reason)))
}

func (m meters) waiting(ctx context.Context, p *partition) { m.waits.Add(ctx, 1, m.of(p)) }

// startBatch begins the span of a batch, linked to the traces that its records came from. A batch of one continues its
// record's trace.
func (p *partition) startBatch(ctx context.Context, records []Record) (context.Context, trace.Span) {
	var links []trace.Link
	for _, r := range records {
		if from := origin(r); from.IsValid() {
			links = append(links, trace.Link{SpanContext: from})
		}
	}
	if len(records) == 1 && len(links) == 1 {
		ctx = trace.ContextWithRemoteSpanContext(ctx, links[0].SpanContext)
	}
	return p.tracer.Start(ctx, "process "+p.topic, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(links...), trace.WithAttributes(
		attribute.String("messaging.system", "kafka"),
		attribute.String("messaging.operation.name", "process"),
		attribute.String("messaging.operation.type", "process"),
		attribute.String("messaging.destination.name", p.topic),
		attribute.String("messaging.destination.partition.id", strconv.Itoa(p.id)),
		attribute.String("messaging.consumer.group.name", p.Group),
		attribute.Int64("messaging.kafka.offset", records[0].Offset),
		attribute.Int("messaging.batch.message_count", len(records)),
	))
}

// origin is the span that wrote the record's event.
func origin(r Record) trace.SpanContext {
	carrier := propagation.MapCarrier{"traceparent": r.Header("traceparent"), "tracestate": r.Header("tracestate")}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}
