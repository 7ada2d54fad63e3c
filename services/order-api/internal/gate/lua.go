package gate

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/singleflight"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redisdb"
)

const (
	// remember is how long an operation's repeat takes no second unit. Later repeats take one and give it back.
	remember = time.Minute
	// reopen is how long orders go straight to the committer before one of them tries Redis again.
	reopen = time.Second
	// tripAfter failures in a row, Redis counts as away.
	tripAfter = 5
)

// stock is the truth: how many units of each sku can still be sold. A sku it does not name is not for sale: the gate
// keeps no counter for it, and the transaction tells the caller why.
type stock interface {
	Remaining(ctx context.Context, skus []string) (map[string]int64, error)
}

// Lua is the gate in Redis: one counter for each sku, one script call for each line of an order. With Redis away it
// lets everything through.
type Lua struct {
	redis   redis.UniversalClient
	stock   stock
	log     *slog.Logger
	breaker *gobreaker.CircuitBreaker[any]
	counts  counts
	loads   singleflight.Group

	mu     sync.Mutex
	active map[string]sighting // what the resync looks after; guarded by mu
}

// New returns a gate over client, which it does not close. Run keeps it true.
func New(client redis.UniversalClient, truth stock, o Observers) (*Lua, error) {
	counts, err := newCounts(o.Meter)
	if err != nil {
		return nil, err
	}
	g := &Lua{redis: client, stock: truth, log: o.Log, counts: counts, active: map[string]sighting{}}
	g.breaker = gobreaker.NewCircuitBreaker[any](gobreaker.Settings{
		Name: "redis", MaxRequests: 1, Timeout: reopen,
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= tripAfter },
		OnStateChange: g.noteBreaker,
	})
	return g, nil
}

func (g *Lua) noteBreaker(_ string, from, to gobreaker.State) {
	if to == gobreaker.StateOpen && from == gobreaker.StateClosed {
		g.log.Warn("Redis is away: orders go straight to the committer")
	} else if to == gobreaker.StateClosed {
		g.log.Info("Redis is back: the gate closes again")
	}
}

// visit runs f against Redis, unless Redis was away a moment ago. A caller who left must not count as Redis's failure,
// nor cut off a script that may already have run; so f's context knows its patience only.
func visit[T any](ctx context.Context, g *Lua, f func(context.Context) (T, error)) (T, error) {
	answer, err := g.breaker.Execute(func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisdb.Patience)
		defer cancel()
		return f(ctx)
	})
	t, _ := answer.(T)
	return t, err
}

// Take takes the units of every line for the operation op, or none. A repeat of op takes no second unit. Lines are as
// order.Sum leaves them: a sku stands in one of them.
func (g *Lua) Take(ctx context.Context, op string, lines []order.Line) Ticket {
	t := Ticket{op: op}
	for _, line := range lines {
		verdict, left, err := g.takeLoaded(ctx, op, line)
		switch {
		case err != nil:
			// The script may have run although its answer is lost. Given back if it is not sold, corrected if it is.
			g.counts.bypassed(ctx)
			t.held = append(t.held, line)
			return t
		case verdict == soldOut:
			g.GiveBack(ctx, t)
			return Ticket{op: op, Left: map[string]int64{line.SkuID: left}}
		case verdict == taken:
			t.held = append(t.held, line)
		}
	}
	return t
}

// takeLoaded takes one line, loading the counter first where there is none.
func (g *Lua) takeLoaded(ctx context.Context, op string, line order.Line) (verdict, left int64, err error) {
	g.sight(line.SkuID)
	for range 3 {
		verdict, left, err = g.takeOnce(ctx, op, line)
		if err != nil || verdict != notLoaded {
			return verdict, left, err
		}
		forSale, err := g.load(ctx, line.SkuID)
		if err != nil {
			return 0, 0, err
		}
		if !forSale {
			return notLoaded, 0, nil
		}
	}
	return 0, 0, fmt.Errorf("the counter of %s does not stay", line.SkuID)
}

func (g *Lua) takeOnce(ctx context.Context, op string, line order.Line) (verdict, left int64, err error) {
	answer, err := visit(ctx, g, func(ctx context.Context) ([]int64, error) {
		return takeScript.Run(ctx, g.redis, operationKeys(line.SkuID, op), line.Quantity, remember.Milliseconds()).Int64Slice()
	})
	if err != nil || len(answer) != 2 {
		return 0, 0, fmt.Errorf("take %d of %s: %w", line.Quantity, line.SkuID, err)
	}
	return answer[0], answer[1], nil
}

// load sets the counter of a sku from the database, if nobody else did meanwhile and the sku is for sale. All who wait for
// one sku share a load, so it must not end with the first of them.
func (g *Lua) load(ctx context.Context, sku string) (forSale bool, err error) {
	answer, err, _ := g.loads.Do(sku, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		remaining, err := g.stock.Remaining(ctx, []string{sku})
		if err != nil {
			return false, fmt.Errorf("load %s: %w", sku, err)
		}
		units, forSale := remaining[sku]
		if !forSale {
			return false, nil
		}
		return visit(ctx, g, func(ctx context.Context) (bool, error) {
			return true, loadScript.Run(ctx, g.redis, keys(sku), units, uuid.NewString()).Err()
		})
	})
	forSale, _ = answer.(bool)
	return forSale, err
}

// GiveBack returns what t took and the transaction did not sell, once. Where Redis does not answer, the resync does it.
func (g *Lua) GiveBack(ctx context.Context, t Ticket) {
	for _, line := range slices.Backward(t.held) {
		_, err := visit(ctx, g, func(ctx context.Context) (int, error) {
			return giveBackScript.Run(ctx, g.redis, operationKeys(line.SkuID, t.op)).Int()
		})
		if err != nil {
			g.log.DebugContext(ctx, "units wait for the resync", "sku", line.SkuID, "error", err)
		}
	}
}
