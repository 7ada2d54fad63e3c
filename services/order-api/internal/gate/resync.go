package gate

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/redisdb"
)

const (
	// every is the pause between two rounds of the resync.
	every = time.Second
	// forget is how long after its last order a sku is looked after.
	forget = 5 * time.Minute
	// chunk bounds one pipeline and one query of a round.
	chunk = 500
	// channel tells every replica that there are units of a sku again.
	channel = "stock:changed"
)

// reading is one look at a sku: its counter in Redis, and what the database says remains.
type reading struct {
	counter, epoch string
	remaining      int64
	forSale        bool
}

// sighting is what the resync knows of an active sku.
type sighting struct {
	at   time.Time // of the last order for it
	last reading   // of the last round
}

func (g *Counters) sight(sku string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.active[sku]
	s.at = time.Now()
	g.active[sku] = s
}

// inUse lists the active skus and forgets those that nobody asked for lately.
func (g *Counters) inUse() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.active, func(_ string, s sighting) bool { return time.Since(s.at) > forget })
	return slices.Collect(maps.Keys(g.active))
}

// Run brings the counters of active skus back to the truth, round after round, until ctx ends. That is what heals a
// crash between the gate and the commit, a restored dump, and an answer of Redis that was lost.
func (g *Counters) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for skus := range slices.Chunk(g.inUse(), chunk) {
			if _, err := g.correct(ctx, skus, g.stoodStill, g.counts.corrected); err != nil {
				g.log.DebugContext(ctx, "the resync waits for the next round", "error", err)
				break
			}
		}
	}
}

// Changed raises the counters of skus that have units again, after the commit that gave them, and tells every replica.
// Units under way elsewhere are counted twice for a moment: such an order is let through and refused by the transaction.
func (g *Counters) Changed(ctx context.Context, skus ...string) {
	defer g.memory.Forget(skus...)
	anyCounter := func(string, reading) (string, bool) { return "", true }
	// What is corrected here did not go wrong: it was to be done.
	noDrift := func(context.Context, int64) {}
	for range 3 { // another replica may have set a counter between this one's look and its word
		late, err := g.correct(ctx, skus, anyCounter, noDrift)
		if err != nil {
			g.log.DebugContext(ctx, "changed stock waits for the resync", "skus", len(skus), "error", err)
			return
		}
		if !late {
			break
		}
	}
	_, err := redisdb.Visit(ctx, g.redis, func(ctx context.Context) ([]redis.Cmder, error) {
		return g.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, sku := range skus {
				p.Publish(ctx, channel, sku)
			}
			return nil
		})
	})
	if err != nil {
		g.log.DebugContext(ctx, "nobody was told of changed stock", "error", err)
	}
}

// stoodStill lets a counter be raised only when neither it nor the truth moved since the last round: otherwise the
// difference may be units that are on their way from the gate to the commit.
func (g *Counters) stoodStill(sku string, now reading) (from string, may bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.active[sku]
	still := s.last == now
	s.last = now
	g.active[sku] = s
	return now.counter, still
}

// correct sets the counters of skus to what the database says. Counters are read before the database and set only if
// they were not set meanwhile; late says that one was. Raising one needs the leave of mayRaise, which also says from
// which counter. found is told by how many units each counter was too low, or too high.
func (g *Counters) correct(
	ctx context.Context, skus []string, mayRaise func(sku string, r reading) (from string, may bool),
	found func(ctx context.Context, units int64),
) (late bool, err error) {
	readings, err := g.read(ctx, skus)
	if err != nil {
		return false, err
	}
	for sku, r := range readings {
		if !r.forSale {
			if err := g.drop(ctx, sku, r); err != nil {
				return late, err
			}
			continue
		}
		left, err := strconv.ParseInt(r.counter, 10, 64)
		from, may := mayRaise(sku, r)
		if err != nil || left == r.remaining || left < r.remaining && !may {
			continue // not loaded: the next order loads it
		}
		set, err := redisdb.Visit(ctx, g.redis, func(ctx context.Context) (int, error) {
			return correctScript.Run(ctx, g.redis, keys(sku), r.remaining, uuid.NewString(), r.epoch, from).Int()
		})
		if err != nil {
			return late, err
		}
		if set == 0 {
			late = true
			continue
		}
		found(ctx, r.remaining-left)
		if left < r.remaining {
			g.memory.Forget(sku)
		}
	}
	return late, nil
}

// drop forgets the counter of a sku that is no longer for sale, so that the transaction tells callers why.
func (g *Counters) drop(ctx context.Context, sku string, r reading) error {
	if r.counter == "" {
		return nil
	}
	_, err := redisdb.Visit(ctx, g.redis, func(ctx context.Context) (int64, error) { return g.redis.Del(ctx, keys(sku)...).Result() })
	return err
}

// read looks at the counters first and at the truth second: a sale lowers the counter before the truth, so a counter
// that is then above the truth is wrong.
func (g *Counters) read(ctx context.Context, skus []string) (map[string]reading, error) {
	answers, err := redisdb.Visit(ctx, g.redis, func(ctx context.Context) ([]*redis.SliceCmd, error) {
		answers := make([]*redis.SliceCmd, len(skus))
		_, err := g.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, sku := range skus {
				answers[i] = p.MGet(ctx, keys(sku)...)
			}
			return nil
		})
		return answers, err
	})
	if err != nil {
		return nil, err
	}
	remaining, err := g.stock.Remaining(ctx, skus)
	if err != nil {
		return nil, err
	}
	readings := make(map[string]reading, len(skus))
	for i, sku := range skus {
		r := reading{}
		r.remaining, r.forSale = remaining[sku]
		r.counter, _ = answers[i].Val()[0].(string)
		r.epoch, _ = answers[i].Val()[1].(string)
		readings[sku] = r
	}
	return readings, nil
}
