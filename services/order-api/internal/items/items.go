// Package items answers what is sold, without asking the database each time: a level in this process, one in Redis, and the
// database behind them.
//
// It promises that a change is seen on every replica when the message of it arrives, and after a second at most where
// messages do not arrive; that what was read before a change never takes the place of what came after; that one sku is
// asked for once, however many wait; and that Redis may be away. Prices of orders are not taken from here: the transaction
// that accepts an order reads them.
package items

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/singleflight"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/gather"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redisdb"
)

const (
	// deaf is how long an item is served that nobody would have told of a change.
	deaf = time.Second
	// recent is how old what can be sold of an item may be.
	recent = time.Second
	// lateness is how long after its time an item is served while one asks for it anew.
	lateness = time.Minute
	// loadTime bounds one question to the database.
	loadTime = 2 * time.Second
	// together is for how many skus the database is asked at once.
	together = 500
	// refreshers is how many items are asked for anew at once, so that many which end together do not keep the gate from Redis.
	refreshers = 256
	// round is the pause between looks at what is left to do.
	round = time.Second
)

// books are the truth.
type books interface {
	ItemsOf(ctx context.Context, skus []string) (map[string]order.CatalogueItem, error)
	Remaining(ctx context.Context, skus []string) (map[string]int64, error)
	Skus(ctx context.Context) ([]string, error)
	TopSold(ctx context.Context, limit int) ([]string, error)
}

// entry is what this process knows of one sku.
type entry struct {
	item  order.CatalogueItem // of version 0 where there is no such item
	known bool                // false: all that is known is the version below which nothing is believed
	floor int64
	since time.Time
	until time.Time
}

// units is what can be sold of one sku.
type units struct {
	left  int64
	until time.Time
}

// Cache keeps items. Run it, so that it hears of changes; until then, and without Redis, it keeps each for a second.
type Cache struct {
	cfg    Config
	books  books
	shared shared
	filter *filter
	log    *slog.Logger
	counts counts

	local   *otter.Cache[string, entry]
	units   *otter.Cache[string, units]
	looks   singleflight.Group // one sku, Redis and then the database
	items   *gather.Loader[order.CatalogueItem]
	left    *gather.Loader[int64]
	listens atomic.Bool
	warmed  atomic.Bool
	turn    atomic.Int64  // counts how often everything was forgotten
	turns   chan struct{} // has as many places as there are refreshers

	mu     sync.Mutex
	untold map[string]bool // changed, and Redis does not know yet; guarded by mu
}

// New returns an empty cache before truth. client may be nil: then there is no level in Redis.
func New(cfg Config, truth books, client *redisdb.Guard, log *slog.Logger, meter metric.MeterProvider) (*Cache, error) {
	counts, err := newCounts(meter)
	if err != nil {
		return nil, err
	}
	c := &Cache{
		cfg: cfg, books: truth, shared: shared{client, cfg}, log: log, counts: counts, untold: map[string]bool{},
		turns:  make(chan struct{}, refreshers),
		filter: &filter{size: cfg.Filter, rate: cfg.FilterRate},
		local:  otter.Must(&otter.Options[string, entry]{MaximumSize: cfg.Local}),
		units:  otter.Must(&otter.Options[string, units]{MaximumSize: cfg.Local}),
	}
	c.items = gather.New(together, loadTime, truth.ItemsOf)
	c.left = gather.New(together, loadTime, c.count)
	return c, nil
}

// missing is what is said of a sku that was never listed.
func missing() error { return &order.Error{Code: order.NotFound, Message: "there is no such item"} }

// Item is one item, retired or not, with what can be sold of it, a second old at most; *order.Error NotFound for a sku that
// was never listed.
func (c *Cache) Item(ctx context.Context, sku string) (order.CatalogueItem, error) {
	if order.CheckText("skuId", sku, 1, 100) != nil {
		return order.CatalogueItem{}, missing()
	}
	item, err := c.look(ctx, sku)
	if err != nil {
		return item, err
	}
	if item.Version == 0 {
		return order.CatalogueItem{}, missing()
	}
	item.Available, err = c.available(ctx, sku)
	return item, err
}

// Unknown is the refusal of an order for something that was surely never listed; nil where that is not sure.
func (c *Cache) Unknown(lines []order.Line) error {
	for _, line := range lines {
		if !c.filter.mayHold(line.SkuID) {
			return order.NotSold(line.SkuID)
		}
	}
	return nil
}

func (c *Cache) look(ctx context.Context, sku string) (order.CatalogueItem, error) {
	e, _ := c.local.GetIfPresent(sku)
	now := time.Now()
	switch {
	case e.known && c.good(e, now):
		c.counts.answered(ctx, byLocal)
		return e.item, nil
	case e.known && c.listens.Load() && now.Before(e.until.Add(lateness)):
		c.counts.answered(ctx, byStale)
		c.refresh(ctx, sku, e)
		return e.item, nil
	case !c.filter.mayHold(sku):
		c.counts.answered(ctx, byFilter)
		return order.CatalogueItem{}, nil
	}
	return c.load(ctx, sku)
}

// good says whether e may be served: for its time, and for a moment only where nobody would tell of a change.
func (c *Cache) good(e entry, now time.Time) bool {
	return now.Before(e.until) && (c.listens.Load() || now.Sub(e.since) < deaf)
}

// refresh asks anew for what was served after its time. The first who comes asks; to the others it is good a little longer.
func (c *Cache) refresh(ctx context.Context, sku string, stale entry) {
	first := false
	c.local.Compute(sku, func(e entry, found bool) (entry, otter.ComputeOp) {
		if !found || !e.until.Equal(stale.until) {
			return e, otter.CancelOp
		}
		first = true
		e.until = time.Now().Add(loadTime)
		return e, otter.WriteOp
	})
	if first {
		go func() { // bounded by its turn and loadTime; who comes next hears of a failure
			c.turns <- struct{}{}
			defer func() { <-c.turns }()
			_, _, _ = c.looks.Do(sku, func() (any, error) { return c.ask(ctx, sku) })
		}()
	}
}

// load is one item for all who wait for it. Who comes as the answer does, and saw nothing before, finds it here.
func (c *Cache) load(ctx context.Context, sku string) (order.CatalogueItem, error) {
	answer, err, _ := c.looks.Do(sku, func() (any, error) {
		if e, _ := c.local.GetIfPresent(sku); e.known && c.good(e, time.Now()) {
			return e.item, nil
		}
		return c.ask(ctx, sku)
	})
	item, _ := answer.(order.CatalogueItem)
	return item, err
}

// ask asks Redis and then the database. It does not end with who asked first, for others wait for the same.
func (c *Cache) ask(ctx context.Context, sku string) (order.CatalogueItem, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*loadTime) // Redis, a question before ours, and ours
	defer cancel()
	turn := c.turn.Load()
	item, found, err := c.shared.get(ctx, sku)
	if err != nil {
		c.counts.unreachable.Add(ctx, 1)
	}
	if found {
		c.counts.answered(ctx, byRedis)
		return c.keep(turn, item), nil
	}
	item, _, err = c.items.Load(ctx, sku)
	if err != nil {
		return order.CatalogueItem{}, fmt.Errorf("load item: %w", err)
	}
	c.counts.answered(ctx, byDatabase)
	item.SkuID = sku
	if item.Version == 0 {
		c.counts.falsePositives.Add(ctx, 1)
	}
	if err := c.shared.put(ctx, item); err != nil {
		c.counts.unreachable.Add(ctx, 1)
	}
	c.noteUnits(sku, item.Available)
	return c.keep(turn, item), nil
}

// keep puts an item into the local level that was asked for in turn, unless something newer is known, and returns the newer.
func (c *Cache) keep(turn int64, item order.CatalogueItem) order.CatalogueItem {
	item.Available = 0
	ttl := spread(c.cfg.LocalTTL)
	if item.Version == 0 {
		ttl = spread(c.cfg.AbsentTTL)
	}
	c.local.Compute(item.SkuID, func(e entry, found bool) (entry, otter.ComputeOp) {
		switch {
		case found && e.known && e.item.Version > item.Version:
			item = e.item
			return e, otter.CancelOp
		case found && e.floor > item.Version, c.turn.Load() != turn:
			return e, otter.CancelOp
		}
		now := time.Now()
		return entry{item: item, known: true, floor: item.Version, since: now, until: now.Add(ttl)}, otter.WriteOp
	})
	return item
}

// available is what can be sold of a sku, asked for once a second at most however many want to know.
func (c *Cache) available(ctx context.Context, sku string) (int64, error) {
	if u, found := c.units.GetIfPresent(sku); found && time.Now().Before(u.until) {
		return u.left, nil
	}
	left, _, err := c.left.Load(ctx, sku)
	return left, err
}

// count asks the database what can be sold of skus, but for those that became known while they waited for their turn.
func (c *Cache) count(ctx context.Context, skus []string) (map[string]int64, error) {
	left := make(map[string]int64, len(skus))
	unknown := make([]string, 0, len(skus))
	for _, sku := range skus {
		if u, found := c.units.GetIfPresent(sku); found && time.Now().Before(u.until) {
			left[sku] = u.left
		} else {
			unknown = append(unknown, sku)
		}
	}
	if len(unknown) == 0 {
		return left, nil
	}
	answers, err := c.books.Remaining(ctx, unknown)
	if err != nil {
		return nil, err
	}
	for _, sku := range unknown {
		left[sku] = answers[sku]
		c.noteUnits(sku, answers[sku])
	}
	return left, nil
}

func (c *Cache) noteUnits(sku string, left int64) {
	c.units.Set(sku, units{left, time.Now().Add(recent)})
}

// Ready is nil as soon as what sold most is here, so that a sale which opens finds it, or cannot be had now: that costs speed only.
func (c *Cache) Ready(context.Context) error {
	if !c.warmed.Load() {
		return errors.New("the best-sold items are not cached yet")
	}
	return nil
}

// warm loads what sold most. It comes after the first word of changes: whatever was here before that is forgotten.
func (c *Cache) warm(ctx context.Context) {
	defer c.warmed.Store(true)
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	turn := c.turn.Load()
	skus, err := c.books.TopSold(ctx, c.cfg.Warm)
	var items map[string]order.CatalogueItem
	if err == nil && len(skus) > 0 {
		items, err = c.books.ItemsOf(ctx, skus)
	}
	if err != nil {
		c.log.WarnContext(ctx, "nothing is warm", "error", err)
		return
	}
	for _, item := range items {
		c.noteUnits(item.SkuID, item.Available)
		c.keep(turn, item)
	}
	c.log.InfoContext(ctx, "items are warm", "items", len(items))
}

// Changed is told of items that changed, after the commit: it keeps what they are now, here and in Redis, and tells every
// replica. What Redis does not take now is tried again until it does.
func (c *Cache) Changed(ctx context.Context, skus ...string) {
	if len(skus) == 0 {
		return
	}
	c.filter.add(skus...)
	c.mu.Lock()
	for _, sku := range skus {
		c.untold[sku] = true
	}
	c.mu.Unlock()
	c.spread(ctx, skus)
}

func (c *Cache) spread(ctx context.Context, skus []string) {
	for skus := range slices.Chunk(skus, together) {
		ctx, cancel := context.WithTimeout(ctx, loadTime)
		err := c.spreadSome(ctx, skus)
		cancel()
		if err != nil {
			c.counts.unreachable.Add(ctx, 1)
			c.log.DebugContext(ctx, "changed items are told again in a moment", "items", len(skus), "error", err)
		}
	}
}

func (c *Cache) spreadSome(ctx context.Context, skus []string) error {
	turn := c.turn.Load()
	items, err := c.books.ItemsOf(ctx, skus)
	if err != nil {
		for _, sku := range skus {
			c.local.Invalidate(sku)
		}
		return err
	}
	all := make([]order.CatalogueItem, 0, len(items))
	for _, item := range items {
		c.noteUnits(item.SkuID, item.Available)
		c.keep(turn, item)
		all = append(all, item)
	}
	if err := c.shared.put(ctx, all...); err != nil {
		return err
	}
	if err := c.shared.tell(ctx, all...); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, sku := range skus {
		delete(c.untold, sku)
	}
	return nil
}

// hear is told by another replica that a sku has a version now.
func (c *Cache) hear(payload string) {
	sku, version, ok := told(payload)
	if !ok {
		return
	}
	c.filter.add(sku)
	c.local.Compute(sku, func(e entry, found bool) (entry, otter.ComputeOp) {
		if found && e.floor >= version {
			return e, otter.CancelOp
		}
		return entry{floor: version}, otter.WriteOp
	})
}

// forgetAll begins anew: something may have changed that nobody told.
func (c *Cache) forgetAll() {
	c.turn.Add(1)
	c.local.InvalidateAll()
}

// Run hears of changes and keeps the filter young until ctx ends; nil then.
func (c *Cache) Run(ctx context.Context) error {
	connected := make(chan struct{}, 1)
	var listening sync.WaitGroup
	if c.shared.redis == nil {
		c.warmed.Store(true) // nothing is kept for longer than a second
	} else {
		listening.Go(func() {
			redisdb.Listen(ctx, c.shared.redis.UniversalClient, channel, redisdb.Listener{
				Connected: func() {
					c.filter.doubt()
					c.forgetAll()
					c.listens.Store(true)
					select {
					case connected <- struct{}{}:
					default:
					}
				},
				Lost: func(err error) {
					c.listens.Store(false)
					c.warmed.Store(true)
					c.filter.doubt()
					c.log.WarnContext(ctx, "nobody tells of changed items: each is kept for a second until Redis is back", "error", err)
				},
				Heard: c.hear,
			})
		})
	}
	defer listening.Wait()
	tick := time.NewTicker(round)
	defer tick.Stop()
	var built time.Time
	for {
		select {
		case <-ctx.Done():
			c.listens.Store(false)
			return nil
		case <-connected:
			c.warm(ctx)
			built = time.Time{}
		case <-tick.C:
		}
		if c.listens.Load() && time.Since(built) > c.cfg.FilterMaxAge {
			if err := c.filter.build(ctx, c.books.Skus); err != nil {
				c.log.WarnContext(ctx, "the filter of skus is tried again in a moment", "error", err)
			} else {
				built = time.Now()
			}
		}
		c.mu.Lock()
		late := make([]string, 0, len(c.untold))
		for sku := range c.untold {
			late = append(late, sku)
		}
		c.mu.Unlock()
		c.spread(ctx, late)
	}
}
