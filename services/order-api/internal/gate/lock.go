package gate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redisdb"
)

const (
	// lease is how long a lock stands when its holder dies.
	lease = 2 * time.Second
	// retryLock is the longest pause between two tries for a lock.
	retryLock = 4 * time.Millisecond
)

// errHeld says that others held the lock of a sku for as long as an order waits for Redis.
var errHeld = errors.New("the lock is not to be had")

// unlockScript ends the lock in KEYS[1] if it is still the caller's, ARGV[1].
var unlockScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`)

// takeInTurn takes one line after the other, each under the lock of its sku.
func (g *Counters) takeInTurn(ctx context.Context, all []*asking) (err error) {
	for _, a := range all {
		if a.answer, err = g.takeLocked(ctx, a.op, a.line); err != nil {
			return err
		}
	}
	return nil
}

// takeLocked is taking as it is often built: under a lock on the sku, with a read, a comparison and a write. It is here to
// be compared with. A holder that outlives its lease may lower a counter that somebody else lowers too; one below zero
// counts as not loaded, and the transaction sells no unit twice.
func (g *Counters) takeLocked(ctx context.Context, op string, line order.Line) (taking, error) {
	all := operationKeys(line.SkuID, op)
	lock, token := all[0]+":lock", uuid.NewString()
	answer, err := redisdb.Visit(ctx, g.redis, func(ctx context.Context) (taking, error) {
		for {
			got, err := g.redis.SetNX(ctx, lock, token, lease).Result()
			if err != nil {
				return taking{}, err
			}
			if got {
				break
			}
			select {
			case <-ctx.Done():
				return taking{verdict: unknown}, nil // Redis is well; it is only too slow a way
			case <-time.After(rand.N(retryLock)): //nolint:gosec // it need not be a secret
			}
		}
		answer, err := g.takeHeld(ctx, all, line.Quantity)
		return answer, errors.Join(err, unlockScript.Run(ctx, g.redis, []string{lock}, token).Err())
	})
	if err == nil && answer.verdict == unknown {
		err = errHeld
	}
	if err != nil {
		return taking{verdict: unknown}, fmt.Errorf("take %d of %s: %w", line.Quantity, line.SkuID, err)
	}
	return answer, nil
}

// takeHeld takes units for an operation while the caller holds the lock. all are the counter, its epoch and the operation.
func (g *Counters) takeHeld(ctx context.Context, all []string, units int64) (taking, error) {
	found, err := g.redis.MGet(ctx, all...).Result()
	if err != nil {
		return taking{}, err
	}
	text, _ := found[0].(string)
	left, err := strconv.ParseInt(text, 10, 64)
	if err != nil || left < 0 {
		return taking{verdict: notLoaded}, nil //nolint:nilerr // what is no number is loaded anew
	}
	epoch, _ := found[1].(string)
	if took, _ := found[2].(string); strings.HasSuffix(took, "@"+epoch) {
		return taking{verdict: already, left: left}, nil
	}
	if left < units {
		return taking{soldOut, left}, nil
	}
	_, err = g.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.DecrBy(ctx, all[0], units)
		p.Set(ctx, all[2], strconv.FormatInt(units, 10)+"@"+epoch, remember)
		return nil
	})
	return taking{taken, left - units}, err
}
