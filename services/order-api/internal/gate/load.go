package gate

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/redisdb"
)

// loadTime bounds one load.
const loadTime = 2 * time.Second

// loadSome sets the counters of skus from the database, where nobody else did meanwhile, and returns what remains of those
// that are for sale. A sale that opens with ten thousand skus asks the database some hundred times: see package gather.
func (g *Counters) loadSome(ctx context.Context, skus []string) (map[string]int64, error) {
	remaining, err := g.stock.Remaining(ctx, skus)
	if err != nil {
		return nil, fmt.Errorf("load %d counters: %w", len(skus), err)
	}
	if len(remaining) == 0 {
		return nil, nil //nolint:nilnil // none is for sale
	}
	_, err = redisdb.Visit(ctx, g.redis, func(ctx context.Context) ([]redis.Cmder, error) {
		return g.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for sku, units := range remaining {
				loadScript.Eval(ctx, p, keys(sku), units, uuid.NewString())
			}
			return nil
		})
	})
	return remaining, err
}
