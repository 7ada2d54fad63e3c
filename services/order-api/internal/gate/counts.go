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
}

func newCounts(provider metric.MeterProvider) (c counts, err error) {
	m := provider.Meter("github.com/floodgate-dev/floodgate/services/order-api/gate")
	if c.bypasses, err = m.Int64Counter("floodgate.gate.bypassed", metric.WithUnit("{order}"),
		metric.WithDescription("Orders that went straight to the committer because Redis did not answer")); err != nil {
		return c, err
	}
	c.corrections, err = m.Int64Counter("floodgate.gate.corrections", metric.WithUnit("{correction}"),
		metric.WithDescription("Counters set to what the database says, by direction"))
	return c, err
}

func (c counts) bypassed(ctx context.Context) { c.bypasses.Add(ctx, 1) }

func (c counts) corrected(ctx context.Context, raised bool) {
	direction := "lowered"
	if raised {
		direction = "raised"
	}
	c.corrections.Add(ctx, 1, metric.WithAttributes(attribute.String("direction", direction)))
}
