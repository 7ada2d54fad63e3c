package items

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redisdb"
)

// shared is the level of all replicas: one value for each sku, its version in front of it, so that what somebody read long
// ago cannot take the place of what is newer.
type shared struct {
	redis *redisdb.Guard // nil for none
	cfg   Config
}

// record is an item as Redis keeps it. What can be sold of it is not kept: it changes with every order.
type record struct {
	Name             string `json:"name"`
	UnitPriceCents   int64  `json:"unitPriceCents"`
	Currency         string `json:"currency"`
	PerCustomerLimit int64  `json:"perCustomerLimit,omitempty"`
	Retired          bool   `json:"retired,omitempty"`
}

// keyOf has the number of the form in it: a replica of another version does not read what it does not understand.
func keyOf(sku string) string { return "item:1:{" + sku + "}" }

// putScript writes ARGV[2] as version ARGV[1] for ARGV[3] milliseconds, unless a newer version is there.
var putScript = redis.NewScript(`
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' then
	local version = string.match(held, '^(%d+) ')
	if version and tonumber(version) > tonumber(ARGV[1]) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
return 1
`)

// get reads an item; found is false where Redis has none. One of version 0 is known not to exist.
func (s shared) get(ctx context.Context, sku string) (item order.CatalogueItem, found bool, err error) {
	if s.redis == nil {
		return item, false, nil
	}
	text, err := redisdb.Visit(ctx, s.redis, func(ctx context.Context) (string, error) {
		text, err := s.redis.Get(ctx, keyOf(sku)).Result()
		if errors.Is(err, redis.Nil) {
			err = nil
		}
		return text, err
	})
	if err != nil || text == "" {
		return item, false, err
	}
	item, err = parse(sku, text)
	if err != nil {
		return item, false, nil //nolint:nilerr // what nobody can read is read from the database and written anew
	}
	return item, true, nil
}

func parse(sku, text string) (item order.CatalogueItem, err error) {
	number, body, _ := strings.Cut(text, " ")
	version, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return item, fmt.Errorf("version of %s: %w", sku, err)
	}
	var r record
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		return item, fmt.Errorf("item %s: %w", sku, err)
	}
	return order.CatalogueItem{
		SkuID: sku, Name: r.Name, Version: version, UnitPriceCents: order.Cents(r.UnitPriceCents), Currency: r.Currency,
		PerCustomerLimit: r.PerCustomerLimit, Retired: r.Retired,
	}, nil
}

// put writes items, each unless a newer version is there.
func (s shared) put(ctx context.Context, items ...order.CatalogueItem) error {
	if s.redis == nil {
		return nil
	}
	_, err := redisdb.Visit(ctx, s.redis, func(ctx context.Context) ([]redis.Cmder, error) {
		return s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, item := range items {
				body, err := json.Marshal(record{item.Name, int64(item.UnitPriceCents), item.Currency, item.PerCustomerLimit, item.Retired})
				if err != nil {
					return err
				}
				ttl := s.cfg.RedisTTL - s.cfg.RedisSpread + rand.N(2*s.cfg.RedisSpread+1) //nolint:gosec // it need not be a secret
				if item.Version == 0 {
					ttl = s.cfg.AbsentTTL
				}
				putScript.Eval(ctx, p, []string{keyOf(item.SkuID)}, item.Version, body, ttl.Milliseconds())
			}
			return nil
		})
	})
	return err
}

// tell says to every replica that items have these versions now.
func (s shared) tell(ctx context.Context, items ...order.CatalogueItem) error {
	if s.redis == nil {
		return nil
	}
	_, err := redisdb.Visit(ctx, s.redis, func(ctx context.Context) ([]redis.Cmder, error) {
		return s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, item := range items {
				p.Publish(ctx, channel, strconv.FormatInt(item.Version, 10)+" "+item.SkuID)
			}
			return nil
		})
	})
	return err
}

// channel tells every replica which items changed: the version and the sku.
const channel = "cache:invalidate"

// told reads what tell wrote.
func told(payload string) (sku string, version int64, ok bool) {
	number, sku, found := strings.Cut(payload, " ")
	version, err := strconv.ParseInt(number, 10, 64)
	return sku, version, found && err == nil
}

// spread is d, a tenth more or less: what was kept together must not end together.
func spread(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1) //nolint:gosec // it need not be a secret
}
