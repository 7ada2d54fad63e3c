package orderapi

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// lookEvery is how often somebody looks for stuck orders.
const lookEvery = 15 * time.Second

// stuck tells how many orders wait for what should have come long ago.
type stuck struct {
	count func(context.Context) (map[string]int64, error)
	log   *slog.Logger
	gauge metric.Int64Gauge
}

func newStuck(count func(context.Context) (map[string]int64, error), log *slog.Logger, provider metric.MeterProvider) (stuck, error) {
	gauge, err := provider.Meter("github.com/floodgate-dev/floodgate/services/order-api").Int64Gauge("floodgate.orders.stuck",
		metric.WithUnit("{order}"), metric.WithDescription("Orders that wait for what should have come a minute ago, by state; all replicas tell the same"))
	return stuck{count, log, gauge}, err
}

// run looks until ctx ends; nil then.
func (s stuck) run(ctx context.Context) error {
	for pause := time.Duration(0); ; pause = lookEvery {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		found, err := s.count(ctx)
		if err != nil {
			if ctx.Err() == nil {
				s.log.WarnContext(ctx, "nobody knows how many orders are stuck", "error", err)
			}
			continue
		}
		for state, n := range found {
			s.gauge.Record(ctx, n, metric.WithAttributes(attribute.String("state", state)))
		}
	}
}
