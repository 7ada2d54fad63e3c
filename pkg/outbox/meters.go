package outbox

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// measureEvery is how often a relay counts what waits in its shards.
const measureEvery = 5 * time.Second

// backlog is what waits in the shards of one relay.
type backlog struct{ rows, ageMS int64 }

// meters are what an operator sees of a relay. Gauges speak of the shards this relay owns: the sum over all relays is
// the outbox.
type meters struct {
	waiting  metric.Int64Gauge
	age      metric.Float64Gauge
	sent     metric.Int64Counter
	failures metric.Int64Counter
	rebases  metric.Int64Counter
	ack      metric.Float64Histogram
}

func newMeters(provider metric.MeterProvider) meters {
	if provider == nil {
		provider = noop.NewMeterProvider()
	}
	m := provider.Meter("github.com/floodgate-dev/floodgate/pkg/outbox")
	out := meters{
		waiting: must(m.Int64Gauge("floodgate.outbox.backlog", metric.WithUnit("{event}"),
			metric.WithDescription("Committed events that are not acknowledged, in this relay's shards; an estimate beyond some thousands."))),
		age: must(m.Float64Gauge("floodgate.outbox.oldest.age", metric.WithUnit("s"),
			metric.WithDescription("Age of the oldest event that is not acknowledged, in this relay's shards."))),
		sent: must(m.Int64Counter("floodgate.outbox.sent", metric.WithUnit("{event}"),
			metric.WithDescription("Events acknowledged by all in-sync replicas."))),
		failures: must(m.Int64Counter("floodgate.outbox.send.failures", metric.WithUnit("{send}"),
			metric.WithDescription("Sends that failed and are tried again."))),
		rebases: must(m.Int64Counter("floodgate.outbox.rebases", metric.WithUnit("{shard}"),
			metric.WithDescription("Shards whose cursor belonged to another server and was set anew."))),
		ack: must(m.Float64Histogram("floodgate.outbox.ack.duration", metric.WithUnit("s"),
			metric.WithDescription("From the append of an event to its acknowledgement."),
			metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60))),
	}
	// Shown from the start, so that the first is seen to be an increase.
	out.failures.Add(context.Background(), 0)
	out.rebases.Add(context.Background(), 0)
	return out
}

// must reports an instrument's error, which a wrong name would cause, and uses the instrument, which is never nil.
func must[T any](instrument T, err error) T {
	if err != nil {
		otel.Handle(err)
	}
	return instrument
}

// acked counts a page that was acknowledged just now. An event of a recorded trace is an example of how long that took.
func (m meters) acked(ctx context.Context, page []row) {
	m.sent.Add(ctx, int64(len(page)))
	now := time.Now().UnixMilli()
	for _, r := range page {
		m.ack.Record(r.trace(ctx), float64(max(now-r.createdAt, 0))/1000)
	}
}

func (m meters) measured(ctx context.Context, b backlog) {
	m.waiting.Record(ctx, b.rows)
	m.age.Record(ctx, float64(b.ageMS)/1000)
}
