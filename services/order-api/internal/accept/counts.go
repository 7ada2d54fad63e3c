package accept

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// counts are the metrics of accepting.
type counts struct {
	accepted metric.Int64Counter
	replayed metric.Int64Counter
	refused  metric.Int64Counter
	size     metric.Int64Histogram
	wait     metric.Float64Histogram
}

func newCounts(provider metric.MeterProvider) (c counts, err error) {
	m := provider.Meter("github.com/floodgate-dev/floodgate/services/order-api/accept")
	counter := func(name, about string) metric.Int64Counter {
		made, e := m.Int64Counter(name, metric.WithUnit("{order}"), metric.WithDescription(about))
		err = errors.Join(err, e)
		return made
	}
	c.accepted = counter("floodgate.orders.accepted", "Orders that were accepted")
	c.replayed = counter("floodgate.orders.replayed", "Repeats that were answered with the order of their key")
	c.refused = counter("floodgate.orders.refused", "Orders that were refused, by reason")
	size, e := m.Int64Histogram("floodgate.accept.batch.size", metric.WithUnit("{order}"),
		metric.WithDescription("Orders that shared one transaction"),
		metric.WithExplicitBucketBoundaries(1, 2, 4, 8, 16, 32, 64, 128, 256))
	wait, f := m.Float64Histogram("floodgate.accept.queue.wait", metric.WithUnit("s"),
		metric.WithDescription("How long an order waited for a committer"),
		metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10))
	c.size, c.wait = size, wait
	if err = errors.Join(err, e, f); err == nil {
		c.begin(context.Background())
	}
	return c, err
}

// begin shows what alarms look at from the start, so that its first count is seen to be an increase.
func (c counts) begin(ctx context.Context) {
	c.accepted.Add(ctx, 0)
	c.replayed.Add(ctx, 0)
	c.refused.Add(ctx, 0, overloaded)
}

// What crowds are counted as is made once.
var overloaded, soldOut = reason("overloaded"), reason(string(order.SoldOut))

func reason(word string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", word)))
}

func reasonOf(code order.Code) metric.MeasurementOption {
	if code == order.SoldOut {
		return soldOut
	}
	return reason(string(code))
}

func (c counts) decided(ctx context.Context, v order.Verdict) {
	var refusal *order.Error
	switch {
	case v.Accepted():
		c.accepted.Add(ctx, 1)
	case v.Replayed:
		c.replayed.Add(ctx, 1)
	case errors.As(v.Err, &refusal):
		c.refused.Add(ctx, 1, reasonOf(refusal.Code))
	}
}

func (c counts) batched(ctx context.Context, orders int)     { c.size.Record(ctx, int64(orders)) }
func (c counts) waited(ctx context.Context, d time.Duration) { c.wait.Record(ctx, d.Seconds()) }

func (c counts) overloaded(ctx context.Context) {
	c.refused.Add(ctx, 1, overloaded)
}
