package gate

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Observers are where the gate tells what it does.
type Observers struct {
	Log   *slog.Logger
	Meter metric.MeterProvider
}

// counts are the gate's metrics.
type counts struct {
	bypasses    metric.Int64Counter
	corrections metric.Int64Counter
	drift       metric.Int64Counter
	stale       metric.Int64Counter
}

func newCounts(provider metric.MeterProvider) (c counts, err error) {
	m := provider.Meter("github.com/floodgate-dev/floodgate/services/order-api/gate")
	if c.bypasses, err = m.Int64Counter("floodgate.gate.bypassed", metric.WithUnit("{order}"),
		metric.WithDescription("Orders that the transaction alone decided because the gate did not answer in time, or its breaker was open")); err != nil {
		return c, err
	}
	if c.drift, err = m.Int64Counter("floodgate.gate.drift", metric.WithUnit("{unit}"),
		metric.WithDescription("Units by which the resync found counters wrong, by direction")); err != nil {
		return c, err
	}
	if c.stale, err = m.Int64Counter("floodgate.gate.stale", metric.WithUnit("{line}"),
		metric.WithDescription("Lines not given back because their counter was set from the database since they were taken")); err != nil {
		return c, err
	}
	c.corrections, err = m.Int64Counter("floodgate.gate.corrections", metric.WithUnit("{correction}"),
		metric.WithDescription("Counters that the resync found wrong and set to what the database says, by direction"))
	if err == nil {
		c.begin(context.Background())
	}
	return c, err
}

// begin shows every series from the start, so that its first count is seen to be an increase.
func (c counts) begin(ctx context.Context) {
	c.bypasses.Add(ctx, 0)
	c.stale.Add(ctx, 0)
	for _, direction := range []string{"raised", "lowered"} {
		c.corrections.Add(ctx, 0, metric.WithAttributes(attribute.String("direction", direction)))
		c.drift.Add(ctx, 0, metric.WithAttributes(attribute.String("direction", direction)))
	}
}

func (c counts) bypassed(ctx context.Context) { c.bypasses.Add(ctx, 1) }

func (c counts) staled(ctx context.Context) { c.stale.Add(ctx, 1) }

// corrected counts one counter that was by units too low (raised now), or too high.
func (c counts) corrected(ctx context.Context, units int64) {
	direction := metric.WithAttributes(attribute.String("direction", "raised"))
	if units < 0 {
		direction, units = metric.WithAttributes(attribute.String("direction", "lowered")), -units
	}
	c.corrections.Add(ctx, 1, direction)
	c.drift.Add(ctx, units, direction)
}
