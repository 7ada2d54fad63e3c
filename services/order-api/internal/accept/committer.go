package accept

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/gate"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

const (
	// maxBatch bounds what one order may cost its neighbours.
	maxBatch = 256
	// batchTime bounds one batch, repeats of law 6 included.
	batchTime = 15 * time.Second
	// grace is how long a stopping committer goes on with what was queued.
	grace = 8 * time.Second
)

// Run takes orders until ctx ends; then it settles those that wait and takes no more.
func (c *Committer) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var committers sync.WaitGroup
	for range c.cfg.Committers {
		committers.Go(func() { c.commit(work) })
	}
	<-ctx.Done()
	defer time.AfterFunc(grace, cancel).Stop()
	c.stop()
	committers.Wait()
	c.inside.Wait()
	return nil
}

func (c *Committer) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	close(c.queue)
}

// commit makes one batch after the other out of what waits, until the queue is closed and empty.
func (c *Committer) commit(ctx context.Context) {
	for first := range c.queue {
		refused, orders := c.gather(ctx, first)
		turnedAway, orders := c.pass(ctx, orders)
		c.lookup(ctx, append(refused, turnedAway...))
		c.accept(ctx, orders)
	}
}

// pass asks the gate for all orders of a batch at once, so that a crowd is one round trip. Who is turned away without a key
// hears it at once; a key may be bound, and is looked up first.
func (c *Committer) pass(ctx context.Context, slots []*slot) (turnedAway, orders []*slot) {
	if len(slots) == 0 {
		return nil, nil
	}
	turn := c.cfg.SoldOut.Turn()
	asked := make([]gate.Asking, len(slots))
	for i, s := range slots {
		asked[i] = gate.Asking{Op: operation(s.draft), Lines: s.draft.Lines}
	}
	at, span := c.trace(ctx, "gate batch", slots)
	tickets := c.cfg.Gate.TakeAll(at, asked)
	finish(span, nil)
	passed := time.Now()
	for i, t := range tickets {
		s := slots[i]
		s.turn, s.ticket, s.passed = turn, t, passed
		switch {
		case !t.Refused():
			orders = append(orders, s)
		case s.draft.Key == "":
			c.answer(ctx, []*slot{s}, []order.Verdict{{Err: order.Short(t.Left)}})
		default:
			s.refusal = order.Short(t.Left)
			turnedAway = append(turnedAway, s)
		}
	}
	return turnedAway, orders
}

// gather takes first and all that wait behind it, up to a bound, in the order they came.
func (c *Committer) gather(ctx context.Context, first *slot) (refused, orders []*slot) {
	for s, n := first, 1; s != nil; n++ {
		s.picked = time.Now()
		c.counts.waited(s.recorded(ctx), s.picked.Sub(s.queued))
		if s.refusal != nil {
			refused = append(refused, s)
		} else {
			orders = append(orders, s)
		}
		if n == maxBatch {
			break
		}
		select {
		case s = <-c.queue: // nil when it is closed
		default:
			s = nil
		}
	}
	return refused, orders
}

// accept has a batch decided and written in one transaction, and answers everyone in it.
func (c *Committer) accept(ctx context.Context, slots []*slot) {
	if len(slots) == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, batchTime)
	defer cancel()
	bounded, span := c.trace(bounded, "accept batch", slots)
	c.counts.batched(bounded, len(slots))
	verdicts, err := c.cfg.Books.Accept(bounded, drafts(slots))
	finish(span, err)
	switch {
	case err == nil:
		c.answer(ctx, slots, verdicts)
	case errors.Is(err, database.ErrUnknownOutcome):
		// The others need not wait for the database to say what it did.
		go c.settle(ctx, slots) // Run waits for every order inside
	case away(err):
		fail(slots, fmt.Errorf("%w: %w", ErrUnavailable, err))
	case len(slots) == 1:
		fail(slots, fmt.Errorf("accept order %s: %w", slots[0].draft.ID, err))
	default: // one of them is at fault: its neighbours must not pay for it
		c.accept(ctx, slots[:len(slots)/2])
		c.accept(ctx, slots[len(slots)/2:])
	}
}

// away says that err is no order's fault: the database is gone, or too busy for longer than a batch may wait.
func away(err error) bool {
	return database.Unavailable(err) || database.Retryable(err) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// settle finds out what became of a batch whose COMMIT was not answered, and tries again what was not sold, under the
// same ids. Never compensate instead: the COMMIT may still be running.
func (c *Committer) settle(ctx context.Context, slots []*slot) {
	at := named(ctx, slots)
	for run := 1; ; run++ {
		known, err := c.cfg.Books.Settle(at, drafts(slots))
		if err == nil {
			c.accept(ctx, c.answerKnown(ctx, slots, known))
			return
		}
		c.cfg.Log.WarnContext(at, "a commit is still unsettled", "orders", len(slots), "error", err)
		pause := min(time.Duration(run)*50*time.Millisecond, time.Second)
		select {
		case <-ctx.Done():
			fail(slots, fmt.Errorf("%w: %w", ErrUnavailable, err))
			return
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
	}
}

// lookup answers keyed orders that were refused: with the order their key is bound to, or with the refusal.
func (c *Committer) lookup(ctx context.Context, slots []*slot) {
	if len(slots) == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(named(ctx, slots), batchTime)
	defer cancel()
	known, err := c.cfg.Books.LookupKeys(bounded, drafts(slots))
	if err != nil {
		fail(slots, fmt.Errorf("%w: %w", ErrUnavailable, err))
		return
	}
	unbound := c.answerKnown(ctx, slots, known)
	refusals := make([]order.Verdict, len(unbound))
	for i, s := range unbound {
		refusals[i] = order.Verdict{Err: s.refusal}
	}
	c.answer(ctx, unbound, refusals)
}

// answerKnown answers those whose verdict is known and returns the others.
func (c *Committer) answerKnown(ctx context.Context, slots []*slot, known []*order.Verdict) (others []*slot) {
	var answered []*slot
	var verdicts []order.Verdict
	for i, v := range known {
		if v != nil {
			answered, verdicts = append(answered, slots[i]), append(verdicts, *v)
		} else {
			others = append(others, slots[i])
		}
	}
	c.answer(ctx, answered, verdicts)
	return others
}

// answer tells each caller its verdict, and the relay when there is something to send.
func (c *Committer) answer(ctx context.Context, slots []*slot, verdicts []order.Verdict) {
	sold := false
	for i, s := range slots {
		s.done <- answer{verdict: verdicts[i]}
		sold = sold || verdicts[i].Accepted()
	}
	if sold {
		c.cfg.Wake()
	}
	for _, v := range verdicts {
		c.counts.decided(ctx, v)
	}
}

func fail(slots []*slot, err error) {
	for _, s := range slots {
		s.done <- answer{err: err}
	}
}

func drafts(slots []*slot) []order.Draft {
	all := make([]order.Draft, len(slots))
	for i, s := range slots {
		all[i] = s.draft
	}
	return all
}
