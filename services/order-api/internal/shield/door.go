package shield

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	sentinel "github.com/alibaba/sentinel-golang/api"
	"github.com/alibaba/sentinel-golang/core/base"
	"github.com/alibaba/sentinel-golang/core/circuitbreaker"
)

// Door stands in front of one resource. Where no rule speaks of it, it costs one look.
type Door struct {
	name     string
	resource string // its name in Sentinel, which is the process's
	log      *slog.Logger
	counts   counts

	options atomic.Pointer[[]sentinel.EntryOption] // nil: no rule speaks of it

	mu       sync.Mutex // guards breakers
	breakers []standing
}

// standing is how a breaker stands.
type standing struct {
	rule  circuitbreaker.Rule
	state state
	until time.Time // an open one is tried again then
}

// state is a breaker's, as the metric says it.
type state int64

const (
	closed state = 0
	trying state = 1 // one call is let in
	open   state = 2
)

// Blocked is why a call may not pass, and when to try again.
type Blocked struct {
	Resource string
	Sku      string // "" unless it is the flow of one
	Flow     bool   // there were too many; else a breaker is open
	After    time.Duration
}

func (b *Blocked) Error() string {
	switch {
	case b.Sku != "":
		return fmt.Sprintf("too many orders of %s in this second", b.Sku)
	case b.Flow:
		return fmt.Sprintf("too many calls of %s in this second", b.Resource)
	}
	return fmt.Sprintf("the breaker of %s is open", b.Resource)
}

// Pass is a call that was let in. Leave it when the call is over.
type Pass struct{ entry *base.SentinelEntry }

// Leave ends the call; failed says that the resource did not do its work.
func (p Pass) Leave(failed error) {
	if p.entry == nil {
		return
	}
	if failed != nil {
		p.entry.SetError(failed)
	}
	p.entry.Exit()
}

// Enter lets a call in, or says why not: the error is a *Blocked.
func (d *Door) Enter(ctx context.Context) (Pass, error) {
	options := d.options.Load()
	if options == nil {
		return Pass{}, nil
	}
	entry, block := sentinel.Entry(d.resource, *options...)
	if block == nil {
		return Pass{entry}, nil
	}
	b := &Blocked{Resource: d.name, Flow: block.BlockType() == base.BlockTypeFlow, After: time.Second}
	if rule, is := block.TriggeredRule().(*circuitbreaker.Rule); is {
		b.After = d.opensIn(rule.Id)
	}
	d.counts.blocked(ctx, b)
	return Pass{}, b
}

// opensIn is how long the breaker id stays open.
func (d *Door) opensIn(id string) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.breakers {
		if b.rule.Id == id {
			return max(time.Until(b.until), 0)
		}
	}
	return 0
}

// load puts these rules in force, and nothing else. A breaker whose rule did not change stays as it stands.
func (d *Door) load(perSecond *int64, breakers []Breaker) error {
	rules := make([]*circuitbreaker.Rule, len(breakers))
	for i, b := range breakers {
		rules[i] = b.rule(d.resource)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := loadBreakers(d.resource, rules); err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	if err := loadFlow(d.resource, perSecond); err != nil {
		return fmt.Errorf("%s: flow: %w", d.name, err)
	}
	was := d.breakers
	d.breakers = nil
	for _, r := range rules {
		now := standing{rule: *r}
		if i := slices.IndexFunc(was, func(s standing) bool { return s.rule == *r }); i >= 0 {
			now = was[i]
		}
		d.breakers = append(d.breakers, now)
		d.counts.begin(d.name, byBreaker)
	}
	if perSecond != nil {
		d.counts.begin(d.name, byFlow)
	}
	switch {
	case perSecond != nil:
		d.options.Store(&flowChain)
	case len(rules) > 0:
		d.options.Store(&breakerChain)
	default:
		d.options.Store(nil)
	}
	return nil
}

// meaning is what an open breaker means to people.
var meaning = map[string]string{
	CreateOrder: "orders are refused until one that is let in is well",
	Redis:       "orders go straight to the transaction, items come from the database",
	Inventory:   "operators are told at once that inventory does not answer",
	Points:      "people are told at once that points does not answer",
	Logistics:   "people are told at once that logistics does not answer",
}

// turned notes that a breaker changed. What a breaker says that was replaced meanwhile is not news.
func (d *Door) turned(rule circuitbreaker.Rule, now state) {
	d.mu.Lock()
	i := slices.IndexFunc(d.breakers, func(s standing) bool { return s.rule == rule })
	if i < 0 {
		d.mu.Unlock()
		return
	}
	was := d.breakers[i].state
	d.breakers[i].state = now
	if now == open {
		d.breakers[i].until = time.Now().Add(time.Duration(rule.RetryTimeoutMs) * time.Millisecond)
	}
	d.mu.Unlock()
	switch {
	case now == open && was == closed:
		d.log.Warn("a breaker opens", "resource", d.name, "kind", rule.Id, "meaning", meaning[d.name])
	case now == closed:
		d.log.Info("a breaker closes again", "resource", d.name, "kind", rule.Id)
	}
}

// stands tells how each breaker stands.
func (d *Door) stands(tell func(kind string, s state)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.breakers {
		tell(b.rule.Id, b.state)
	}
}
