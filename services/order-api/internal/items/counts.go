package items

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// What answered a look at an item.
var (
	byLocal    = level("local")
	byStale    = level("stale") // the local level, while somebody asks anew
	byRedis    = level("redis")
	byDatabase = level("database")
	byFilter   = level("filter") // nobody was asked
)

func level(name string) metric.AddOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("level", name)))
}

// counts are the cache's metrics.
type counts struct {
	lookups        metric.Int64Counter
	falsePositives metric.Int64Counter
	unreachable    metric.Int64Counter
}

func newCounts(provider metric.MeterProvider) (c counts, err error) {
	m := provider.Meter("github.com/floodgate-dev/floodgate/services/order-api/items")
	if c.lookups, err = m.Int64Counter("floodgate.items.lookups", metric.WithUnit("{lookup}"),
		metric.WithDescription("Looks at an item, by the level that answered")); err != nil {
		return c, err
	}
	if c.falsePositives, err = m.Int64Counter("floodgate.items.filter.false_positives", metric.WithUnit("{lookup}"),
		metric.WithDescription("Skus that the filter let pass and nobody has")); err != nil {
		return c, err
	}
	c.falsePositives.Add(context.Background(), 0) // shown from the start, so that the first is seen to be an increase
	c.unreachable, err = m.Int64Counter("floodgate.items.redis.failures", metric.WithUnit("{call}"),
		metric.WithDescription("Calls of Redis that failed; the database answered instead"))
	if err == nil {
		c.unreachable.Add(context.Background(), 0)
	}
	return c, err
}

func (c counts) answered(ctx context.Context, level metric.AddOption) { c.lookups.Add(ctx, 1, level) }
