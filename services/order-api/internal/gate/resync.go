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
	// share is one part of how many of a processor's time a round may take: it rests between its chunks.
	share = 20
	// channel tells every replica that there are units of a sku again.
	channel = "stock:changed"
)

// reading is one look at a sku: its counter in Redis, and what the database says remains.
type reading struct {
	counter, epoch string
	remaining      int64
	forSale        bool
}

// left is the counter, where there is one.
func (r reading) left() (units int64, loaded bool) {
	units, err := strconv.ParseInt(r.counter, 10, 64)
	return units, err == nil
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
// crash between the gate and the commit, a restored dump, and an answer of Redis that was lost. A round over many skus rests
// again and again, so that it costs a sale little; while Redis was away much may have gone wrong, and then it hurries.
func (g *Counters) Run(ctx context.Context) error {
	for wait(ctx, every); ctx.Err() == nil; wait(ctx, every) {
		hurries := g.away.Load()
		whole := true
		for skus := range slices.Chunk(g.inUse(), chunk) {
			began := time.Now()
			if _, err := g.correct(ctx, skus, g.stoodStill, g.counts.corrected); err != nil {
				g.log.DebugContext(ctx, "the resync waits for the next round", "error", err)
				g.away.Store(looks)
				whole = false
				break
			}
			if g.away.Load() == 0 {
				wait(ctx, (share-1)*time.Since(began))
			}
		}
		if whole && hurries > 0 {
			g.away.CompareAndSwap(hurries, hurries-1)
		}
	}
	return nil
}

// looks is in how many rounds a counter is seen to stand still, and raised.
const looks = 2

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
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

// correct sets the counters of skus to what the database says, and forgets those of skus that are no longer for sale. Counters
// are read before the database and set only if they were not set meanwhile; late says that one was. Raising one needs the
// leave of mayRaise, which also says from which counter. found is told by how many units each counter was too low, or too high.
func (g *Counters) correct(
	ctx context.Context, skus []string, mayRaise func(sku string, r reading) (from string, may bool),
	found func(ctx context.Context, units int64),
) (late bool, err error) {
	readings, err := g.read(ctx, skus)
	if err != nil {
		return false, err
	}
	var wrong []string
	var answers []*redis.Cmd
	_, err = redisdb.Visit(ctx, g.redis, func(ctx context.Context) ([]redis.Cmder, error) {
		return g.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for sku, r := range readings {
				if !r.forSale {
					if r.counter != "" {
						p.Del(ctx, keys(sku)...) // so that the transaction tells callers why
					}
					continue
				}
				from, may := mayRaise(sku, r)
				if left, loaded := r.left(); !loaded || left == r.remaining || left < r.remaining && !may {
					continue // what is not loaded the next order loads
				}
				wrong = append(wrong, sku)
				answers = append(answers, correctScript.Eval(ctx, p, keys(sku), r.remaining, uuid.NewString(), r.epoch, from))
			}
			return nil
		})
	})
	if err != nil {
		return false, err
	}
	for i, sku := range wrong {
		if set, err := answers[i].Int(); err != nil || set == 0 {
			late = true
			continue
		}
		left, _ := readings[sku].left()
		found(ctx, readings[sku].remaining-left)
		if left < readings[sku].remaining {
			g.memory.Forget(sku)
		}
	}
	return late, nil
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
