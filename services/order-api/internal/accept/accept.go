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
	"go.opentelemetry.io/otel/trace"

	"github.com/floodgate-dev/floodgate/pkg/tracing"
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
	// TakeAll takes the units of each order, or none: one ticket each.
	TakeAll(ctx context.Context, orders []gate.Asking) []gate.Ticket
	GiveBack(ctx context.Context, t gate.Ticket)
}

// Config is what a Committer works with.
type Config struct {
	Books books
	Gate  doorkeeper
	// SoldOut remembers what was refused, in front of the gate.
	SoldOut *gate.SoldOut
	// Unknown is the refusal of lines that name what was surely never listed; nil where that is not sure.
	Unknown func(lines []order.Line) error
	// Committers is how many batches may be under way at once.
	Committers int
	// Queue is how many orders may wait for a committer.
	Queue int
	// Wake is called after a batch that sold something: its events wait for the relay.
	Wake  func()
	Log   *slog.Logger
	Meter metric.MeterProvider
	// Tracer makes a span of each batch that holds an order whose trace is recorded; nil for none.
	Tracer trace.TracerProvider
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
	draft   order.Draft
	refusal error // what a draft with a key hears unless its key is bound; nil while it may be sold
	queued  time.Time
	picked  time.Time          // when a committer took it
	passed  time.Time          // when the gate had answered
	trace   trace.SpanContext  // of the order's request, recorded or not
	batch   *trace.SpanContext // that it was written in, where that is recorded
	turn    uint64             // of the memory of what is sold out, when the gate was asked
	ticket  gate.Ticket        // what the gate let through; the answer comes after it
	done    chan answer        // has room for the answer, so that nobody waits for a caller who left
}

type answer struct {
	verdict order.Verdict
	err     error
}

// Place has one order decided: by the gate and then by the transaction of a batch. When ctx ends before the answer, the
// order's fate is the database's, and a retry with the same Idempotency-Key learns it.
func (c *Committer) Place(ctx context.Context, d order.Draft) (order.Verdict, error) {
	_, stage := tracing.Begin(ctx, "item")
	refusal := c.refuse(d)
	stage.End()
	if refusal != nil && d.Key == "" {
		v := order.Verdict{Err: refusal}
		c.counts.decided(ctx, v)
		return v, nil
	}
	s, err := c.enqueue(ctx, d, refusal)
	if err != nil {
		return order.Verdict{}, err
	}
	select {
	case a := <-s.done:
		s.tell(ctx)
		c.leave(ctx, s, a)
		return a.verdict, a.err
	case <-ctx.Done():
		go func() { c.leave(context.WithoutCancel(ctx), s, <-s.done) }() // Run waits for it
		return order.Verdict{}, ctx.Err()
	}
}

// refuse turns away what needs no question to anybody: nil for what may be sold. A key may be bound to an order of long ago,
// so a keyed draft is looked up before it hears this.
func (c *Committer) refuse(d order.Draft) error {
	if c.cfg.Unknown != nil {
		if refusal := c.cfg.Unknown(d.Lines); refusal != nil {
			return refusal
		}
	}
	// The gate knows a repeat of a key whose first request is still under way. Only orders without one are turned away
	// before it.
	if d.Key == "" {
		if left := c.cfg.SoldOut.Short(d.Lines); left != nil {
			return order.Short(left)
		}
	}
	return nil
}

// noteRefusal remembers of what there was too little.
func (c *Committer) noteRefusal(s *slot, a answer) {
	if refusal, is := a.verdict.Err.(*order.Error); is && refusal.Code == order.SoldOut { //nolint:errorlint // verdicts hold this type or nil
		c.cfg.SoldOut.Note(s.turn, refusal.Left)
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
func (c *Committer) leave(ctx context.Context, s *slot, a answer) {
	defer c.inside.Done()
	if a.err != nil || !a.verdict.Accepted() {
		c.noteRefusal(s, a)
		c.cfg.Gate.GiveBack(ctx, s.ticket)
	}
}

// Overloaded counts an order that was turned away before it came here.
func (c *Committer) Overloaded(ctx context.Context) { c.counts.overloaded(ctx) }

// enqueue gives an order a place in the queue, or says at once that there is none. Who got one calls inside.Done.
func (c *Committer) enqueue(ctx context.Context, d order.Draft, refusal error) (*slot, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.stopped {
		return nil, fmt.Errorf("%w: this process stops", ErrUnavailable)
	}
	s := &slot{
		draft: d, refusal: refusal, queued: time.Now(), trace: trace.SpanContextFromContext(ctx), done: make(chan answer, 1),
	}
	select {
	case c.queue <- s:
		c.inside.Add(1)
		return s, nil
	default:
		c.counts.overloaded(ctx)
		return nil, ErrOverloaded
	}
}
