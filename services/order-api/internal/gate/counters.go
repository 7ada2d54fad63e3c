package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/gather"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redisdb"
)

// remember is how long an operation's repeat takes no second unit. Later repeats take one and give it back.
const remember = time.Minute

// stock is the truth: how many units of each sku can still be sold. A sku it does not name is not for sale: the gate
// keeps no counter for it, and the transaction tells the caller why.
type stock interface {
	Remaining(ctx context.Context, skus []string) (map[string]int64, error)
}

// Counters is the gate in Redis: one counter for each sku, lowered by a script (lua) or under a lock (lock). With Redis away
// it lets everything through.
type Counters struct {
	redis  *redisdb.Guard
	stock  stock
	log    *slog.Logger
	counts counts
	memory *SoldOut
	locked bool // by a lock instead of a script

	mu     sync.Mutex
	active map[string]sighting // what the resync looks after; guarded by mu

	loads *gather.Loader[int64]

	cluster bool         // the keys of one script belong to one sku
	owed    atomic.Int64 // answers of Redis that nobody waits for any more
	failed  atomic.Bool  // its last answer was none
	away    atomic.Int64 // rounds of the resync that hurry, for Redis was away
}

// New returns the gate of kind over client. Run keeps it true. What it gives back or raises, memory
// forgets.
func New(kind string, client *redisdb.Guard, truth stock, memory *SoldOut, o Observers) (*Counters, error) {
	counts, err := newCounts(o.Meter)
	if err != nil {
		return nil, err
	}
	g := &Counters{
		redis: client, stock: truth, log: o.Log, counts: counts, memory: memory, locked: kind == KindLock, active: map[string]sighting{},
	}
	_, g.cluster = client.UniversalClient.(*redis.ClusterClient)
	g.loads = gather.New(chunk, loadTime, g.loadSome)
	return g, nil
}

// Asking is one order before the gate. Op names the operation: asked again under the same name it takes no second unit.
// Lines are as order.Sum leaves them: a sku stands in one of them.
type Asking struct {
	Op    string
	Lines []order.Line
}

// TakeAll takes the units of every line of an order, or none, for each order in turn; one ticket each. However many
// orders there are, they are one round trip where their counters are loaded.
func (g *Counters) TakeAll(ctx context.Context, orders []Asking) []Ticket {
	all := make([]*asking, 0, len(orders))
	for i, o := range orders {
		for _, line := range o.Lines {
			g.sight(line.SkuID)
			all = append(all, &asking{line: line, op: o.Op, of: i, answer: taking{verdict: unknown}})
		}
	}
	err := g.takeLoaded(ctx, all)
	tickets := make([]Ticket, len(orders))
	for i, o := range orders {
		tickets[i].op = o.Op
	}
	for _, a := range all {
		tickets[a.of].note(a)
	}
	for i := range tickets {
		switch t := &tickets[i]; {
		case t.Refused():
			g.GiveBack(ctx, *t)
			t.held = nil
		case err != nil:
			g.counts.bypassed(ctx)
		}
	}
	return tickets
}

// asking is one line of an order.
type asking struct {
	line   order.Line
	op     string
	of     int // the order
	answer taking
}

// taking is the answer to one line.
type taking struct{ verdict, left int64 }

// note adds the answer to one line.
func (t *Ticket) note(a *asking) {
	switch a.answer.verdict {
	case soldOut:
		if t.Left == nil {
			t.Left = map[string]int64{}
		}
		t.Left[a.line.SkuID] = a.answer.left
	case taken, unknown:
		// The script may have run although its answer is lost: given back if it is not sold, corrected if it is.
		t.held = append(t.held, a.line)
	}
}

// takeLoaded asks for all lines, loading the counters first that are missing. Lines of what is not for sale stay without
// a counter.
func (g *Counters) takeLoaded(ctx context.Context, all []*asking) error {
	take := g.takeTogether
	if g.locked {
		take = g.takeInTurn
	}
	missing := all
	for range 3 {
		for _, a := range missing {
			a.answer.verdict = unknown // until it is told again: the answer may be lost
		}
		if err := take(ctx, missing); err != nil {
			return err
		}
		missing = slices.DeleteFunc(slices.Clone(missing), func(a *asking) bool { return a.answer.verdict != notLoaded })
		if len(missing) == 0 {
			return nil
		}
		forSale, err := g.load(context.WithoutCancel(ctx), missing)
		if err != nil {
			return err
		}
		missing = slices.DeleteFunc(missing, func(a *asking) bool { return !forSale[a.line.SkuID] })
	}
	if len(missing) > 0 {
		return fmt.Errorf("the counter of %s does not stay", missing[0].line.SkuID)
	}
	return nil
}

// load sets the counters of what was missing and says which skus are for sale.
func (g *Counters) load(ctx context.Context, missing []*asking) (map[string]bool, error) {
	var (
		loading errgroup.Group
		mu      sync.Mutex // guards forSale
		forSale = map[string]bool{}
	)
	for _, a := range missing {
		sku := a.line.SkuID
		mu.Lock()
		_, asked := forSale[sku]
		forSale[sku] = false
		mu.Unlock()
		if asked {
			continue
		}
		loading.Go(func() error {
			_, found, err := g.loads.Load(ctx, sku)
			mu.Lock()
			defer mu.Unlock()
			forSale[sku] = found
			return err
		})
	}
	return forSale, loading.Wait()
}

// impatience is how long orders wait for a gate that failed when it was last asked. Redis has longer to answer before it
// counts as away, and nobody asks it meanwhile, so that one which is frozen costs a sale this much now and then.
const impatience = 50 * time.Millisecond

// errBusy says that Redis owes an answer.
var errBusy = errors.New("the gate owes an answer")

// takeTogether asks for all lines in one round trip; in a Cluster with one script for each sku.
func (g *Counters) takeTogether(ctx context.Context, all []*asking) error {
	if g.owed.Load() > 0 {
		return errBusy
	}
	var calls []call
	if g.cluster {
		for _, some := range bySku(all) {
			calls = append(calls, newCall(some))
		}
	} else {
		calls = []call{newCall(all)}
	}
	var failure error // set when answered is closed
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, failure = redisdb.Visit(ctx, g.redis, func(ctx context.Context) (struct{}, error) { return struct{}{}, g.run(ctx, calls) })
		if g.failed.Store(failure != nil); failure != nil {
			g.away.Store(looks)
		}
	}()
	var late <-chan time.Time
	if g.failed.Load() {
		late = time.After(impatience)
	}
	select {
	case <-answered:
		if failure != nil {
			return fmt.Errorf("take %d lines: %w", len(all), failure)
		}
	case <-late:
		g.owed.Add(1)
		go func() {
			<-answered
			g.owed.Add(-1)
		}()
		return errBusy
	}
	for _, c := range calls {
		if err := c.read(); err != nil {
			return err
		}
	}
	return nil
}

// call is one run of takeScript.
type call struct {
	of   []*asking
	keys []string
	args []any
	cmd  *redis.Cmd
}

func newCall(of []*asking) call {
	c := call{of: of, keys: make([]string, 0, 3*len(of)), args: make([]any, 0, 1+len(of))}
	c.args = append(c.args, remember.Milliseconds())
	var k []string
	for i, a := range of {
		if i == 0 || a.line.SkuID != of[i-1].line.SkuID {
			k = keys(a.line.SkuID)
		}
		c.keys = append(c.keys, k[0], k[1], operationKey(k[0], a.op))
		c.args = append(c.args, a.line.Quantity)
	}
	return c
}

// run sends calls together; again with the script's text where Redis has forgotten it.
func (g *Counters) run(ctx context.Context, calls []call) error {
	send := func(as func(c *call, p redis.Pipeliner)) error {
		_, err := g.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := range calls {
				as(&calls[i], p)
			}
			return nil
		})
		return err
	}
	err := send(func(c *call, p redis.Pipeliner) { c.cmd = takeScript.EvalSha(ctx, p, c.keys, c.args...) })
	if !redis.HasErrorPrefix(err, "NOSCRIPT") {
		return err
	}
	// What was answered before is taken already: the operations' keys say so.
	return send(func(c *call, p redis.Pipeliner) { c.cmd = takeScript.Eval(ctx, p, c.keys, c.args...) })
}

// read gives each line its answer.
func (c call) read() error {
	answers, err := c.cmd.Int64Slice()
	if err == nil && len(answers) != 2*len(c.of) {
		err = fmt.Errorf("%d answers", len(answers))
	}
	if err != nil {
		return fmt.Errorf("take %d lines: %w", len(c.of), err)
	}
	for i, a := range c.of {
		a.answer = taking{answers[2*i], answers[2*i+1]}
	}
	return nil
}

func bySku(all []*asking) map[string][]*asking {
	some := map[string][]*asking{}
	for _, a := range all {
		some[a.line.SkuID] = append(some[a.line.SkuID], a)
	}
	return some
}

// GiveBack returns what t took and the transaction did not sell, once. Where Redis does not answer, the resync does it.
func (g *Counters) GiveBack(ctx context.Context, t Ticket) {
	for _, line := range slices.Backward(t.held) {
		given, err := redisdb.Visit(ctx, g.redis, func(ctx context.Context) (int, error) {
			return giveBackScript.Run(ctx, g.redis, operationKeys(line.SkuID, t.op)).Int()
		})
		switch {
		case err != nil:
			g.log.DebugContext(ctx, "units wait for the resync", "sku", line.SkuID, "error", err)
		case given == staleEpoch:
			g.counts.staled(ctx)
		case given > 0:
			g.memory.Forget(line.SkuID)
		}
	}
}
