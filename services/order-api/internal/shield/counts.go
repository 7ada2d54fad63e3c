package shield

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// counts are the shield's metrics.
type counts struct{ refusals metric.Int64Counter }

func newCounts(provider metric.MeterProvider, s *Shield) (c counts, err error) {
	m := provider.Meter("github.com/floodgate-dev/floodgate/services/order-api/shield")
	if c.refusals, err = m.Int64Counter("floodgate.shield.blocked", metric.WithUnit("{call}"),
		metric.WithDescription("Calls that a rule kept out, by resource and by what kept them: flow, sku or breaker")); err != nil {
		return c, err
	}
	if _, err = m.Int64ObservableGauge("floodgate.breaker.state", metric.WithDescription("How a breaker stands: 0 closed, 1 one call tries, 2 open"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for name, d := range s.doors {
				d.stands(func(kind string, now state) {
					o.Observe(int64(now), metric.WithAttributes(attribute.String("breaker", name), attribute.String("kind", kind)))
				})
			}
			return nil
		})); err != nil {
		return c, err
	}
	_, err = m.Int64ObservableGauge("floodgate.rules.refused", metric.WithDescription("1 while the file of rules is refused and older ones are in force"),
		metric.WithInt64Callback(func(ctx context.Context, o metric.Int64Observer) error {
			refused := int64(0)
			if s.Ready(ctx) != nil {
				refused = 1
			}
			o.Observe(refused)
			return nil
		}))
	return c, err
}

// What keeps a call out.
const (
	byFlow    = "flow"
	bySku     = "sku"
	byBreaker = "breaker"
)

func (c counts) blocked(ctx context.Context, b *Blocked) {
	by := byBreaker
	switch {
	case b.Sku != "":
		by = bySku
	case b.Flow:
		by = byFlow
	}
	c.add(ctx, 1, b.Resource, by)
}

// begin shows a rule before it kept anybody out, so that its first count is seen to be an increase.
func (c counts) begin(resource, by string) { c.add(context.Background(), 0, resource, by) }

func (c counts) add(ctx context.Context, n int64, resource, by string) {
	c.refusals.Add(ctx, n, metric.WithAttributes(attribute.String("resource", resource), attribute.String("by", by)))
}
