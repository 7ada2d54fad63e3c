// Package accept takes orders, many at once: requests that wait share one transaction (group commit).
//
// It promises that an order which was answered as accepted is durable, that one bad order never fails its neighbours,
// that an order whose caller left is settled all the same, and that what the gate let through and nobody bought goes
// back. Nothing here waits for a timer: with one request waiting, a batch is one request.
package accept

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/gate"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

var (
	// ErrOverloaded says that as many orders wait as may: come back later.
	ErrOverloaded = errors.New("too many orders wait")
	// ErrUnavailable says that the database is away or this process stops: nothing was sold to the caller yet.
	ErrUnavailable = errors.New("orders cannot be taken now")
)

// books is the truth: what store does for a committer.
type books interface {
	// Accept decides drafts in their order and writes the winners, in one transaction.
	Accept(ctx context.Context, drafts []order.Draft) ([]order.Verdict, error)
	// Settle says what became of drafts whose COMMIT was not answered; nil for those of which nothing stands.
	Settle(ctx context.Context, drafts []order.Draft) ([]*order.Verdict, error)
	// LookupKeys answers drafts whose Idempotency-Key is bound already; nil for the others.
	LookupKeys(ctx context.Context, drafts []order.Draft) ([]*order.Verdict, error)
}

// doorkeeper turns away what cannot be sold; see package gate.
type doorkeeper interface {
	Take(ctx context.Context, op string, lines []order.Line) gate.Ticket
	GiveBack(ctx context.Context, t gate.Ticket)
}

// Config is what a Committer works with.
type Config struct {
	Books books
	Gate  doorkeeper
	// Committers is how many batches may be under way at once.
	Committers int
	// Queue is how many orders may wait for a committer.
	Queue int
	// Wake is called after a batch that sold something: its events wait for the relay.
	Wake  func()
	Log   *slog.Logger
	Meter metric.MeterProvider
}

// Committer takes orders in batches. Run it, and Place.
type Committer struct {
	cfg    Config
	queue  chan *slot
	counts counts

	mu      sync.RWMutex // guards stopped and the closing of queue
	stopped bool
	inside  sync.WaitGroup // orders that have a place, until they are settled and what they did not buy is given back
}

// New returns a Committer that takes nothing until Run.
func New(cfg Config) (*Committer, error) {
	counts, err := newCounts(cfg.Meter)
	if err != nil {
		return nil, err
	}
	return &Committer{cfg: cfg, queue: make(chan *slot, cfg.Queue), counts: counts}, nil
}

// slot is one order's place in the queue.
type slot struct {
	draft  order.Draft
	lookup bool // only ask whether the draft's key is bound
	queued time.Time
	done   chan answer // has room for the answer, so that nobody waits for a caller who left
}

type answer struct {
	verdict order.Verdict
	unbound bool // to a lookup: there is no order under this key
	err     error
}

// Place has one order decided: by the gate first, then by the transaction of a batch. When ctx ends before the answer,
// the order's fate is the database's, and a retry with the same Idempotency-Key learns it.
func (c *Committer) Place(ctx context.Context, d order.Draft) (order.Verdict, error) {
	ticket := c.cfg.Gate.Take(ctx, operation(d), d.Lines)
	if ticket.Refused() {
		return c.refuse(ctx, d, ticket)
	}
	s, err := c.enqueue(ctx, d, false)
	if err != nil {
		c.cfg.Gate.GiveBack(ctx, ticket)
		return order.Verdict{}, err
	}
	select {
	case a := <-s.done:
		c.leave(ctx, ticket, a)
		return a.verdict, a.err
	case <-ctx.Done():
		go func() { c.leave(context.WithoutCancel(ctx), ticket, <-s.done) }() // Run waits for it
		return order.Verdict{}, ctx.Err()
	}
}

// operation names an order at the gate: a repeat under the same key is the same operation.
func operation(d order.Draft) string {
	if d.Key != "" {
		return "key\x00" + d.UserID + "\x00" + d.Key
	}
	return d.ID
}

// leave gives back what the gate let through and this order did not buy, and ends the order's time here.
func (c *Committer) leave(ctx context.Context, t gate.Ticket, a answer) {
	defer c.inside.Done()
	if a.err != nil || !a.verdict.Accepted() {
		c.cfg.Gate.GiveBack(ctx, t)
	}
}

// refuse answers what the gate would not let through. A key may be bound to an order of long ago, so a keyed request is
// looked up before it is refused.
func (c *Committer) refuse(ctx context.Context, d order.Draft, t gate.Ticket) (order.Verdict, error) {
	soldOut := order.Verdict{Err: order.Short(t.Left)}
	if d.Key == "" {
		c.counts.decided(ctx, soldOut)
		return soldOut, nil
	}
	s, err := c.enqueue(ctx, d, true)
	if err != nil {
		return order.Verdict{}, err
	}
	defer c.inside.Done()
	select {
	case a := <-s.done:
		if a.unbound {
			c.counts.decided(ctx, soldOut)
			return soldOut, nil
		}
		return a.verdict, a.err
	case <-ctx.Done():
		return order.Verdict{}, ctx.Err()
	}
}

// enqueue gives an order a place in the queue, or says at once that there is none. Who got one calls inside.Done.
func (c *Committer) enqueue(ctx context.Context, d order.Draft, lookup bool) (*slot, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.stopped {
		return nil, fmt.Errorf("%w: this process stops", ErrUnavailable)
	}
	s := &slot{draft: d, lookup: lookup, queued: time.Now(), done: make(chan answer, 1)}
	select {
	case c.queue <- s:
		c.inside.Add(1)
		return s, nil
	default:
		c.counts.overloaded(ctx)
		return nil, ErrOverloaded
	}
}
