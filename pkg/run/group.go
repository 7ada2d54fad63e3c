package run

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Group is the parts of one service, started top to bottom and stopped bottom to top: a part is told to stop (its
// context ends) when every part started after it has returned, so it may rely to its end on those started before it.
//
// The group stops when its context ends, when a part returns an error, or when all parts have returned. A part that
// returns nil before it was told to has simply done its work. A group with a drain delay (Config.Group) that is told to end
// lets all its parts work on for so long. A part may start others: they stand after all that were
// started before.
type Group struct {
	// Grace bounds how long the parts may take to stop, all together. Set it before Wait; NewGroup makes it 25 s, and for a
	// group within a part of another a second less, so that the innermost part that hangs is named.
	Grace time.Duration

	ctx      context.Context //nolint:containedctx // the life of the group, which its parts' contexts outlive
	stopping chan struct{}   // closed once, when the group begins to stop
	draining chan struct{}   // that of the outermost group
	drain    time.Duration   // for which all parts go on when the group is told to end
	failing  chan struct{}   // closed once, when a part failed

	mu      sync.Mutex // guards what follows
	parts   []*part
	running int
	waited  bool  // Wait was called: nothing running means the end
	err     error // the first
	over    bool  // stopping is closed
}

type part struct {
	name     string
	stop     context.CancelFunc
	returned chan struct{}
}

type (
	stoppingKey struct{}
	drainingKey struct{}
)

// NewGroup is an empty group that begins to stop when ctx ends.
func NewGroup(ctx context.Context) *Group {
	g := &Group{Grace: 25 * time.Second, ctx: ctx, stopping: make(chan struct{}), failing: make(chan struct{})}
	g.draining = g.stopping
	if outer, ok := ctx.Value(drainingKey{}).(chan struct{}); ok {
		g.draining = outer
		g.Grace -= time.Second
	}
	return g
}

// Draining is closed as soon as the service that ctx belongs to was told to stop: from then on it is not ready, and every
// part still works for the drain delay. It is Stopping of the outermost group.
func Draining(ctx context.Context) <-chan struct{} {
	if c, ok := ctx.Value(drainingKey{}).(chan struct{}); ok {
		return c
	}
	return ctx.Done()
}

// Stopping is closed as soon as the group of the part that runs with ctx begins to stop, which may be long before the
// part itself must. Outside a group it is ctx.Done().
func Stopping(ctx context.Context) <-chan struct{} {
	if c, ok := ctx.Value(stoppingKey{}).(chan struct{}); ok {
		return c
	}
	return ctx.Done()
}

// Start runs f as the part called name. In a group that is stopping it does nothing: it is too late to begin.
func (g *Group) Start(name string, f func(ctx context.Context) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over || g.ctx.Err() != nil {
		return
	}
	// WithoutCancel: the end of the group's context reaches a part only in its turn.
	ctx := context.WithValue(context.WithoutCancel(g.ctx), stoppingKey{}, g.stopping)
	ctx, stop := context.WithCancel(context.WithValue(ctx, drainingKey{}, g.draining))
	p := &part{name: name, stop: stop, returned: make(chan struct{})}
	g.parts = append(g.parts, p)
	g.running++
	go func() {
		defer close(p.returned)
		err := f(ctx)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil // it stopped as asked
		}
		stop()
		g.finished(name, err)
	}()
}

func (g *Group) finished(name string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	if err != nil && g.err == nil {
		g.err = fmt.Errorf("%s: %w", name, err)
		close(g.failing)
	}
	if err != nil || g.waited && g.running == 0 {
		g.beginToStop()
	}
}

// beginToStop needs mu.
func (g *Group) beginToStop() {
	if !g.over {
		g.over = true
		close(g.stopping)
	}
}

// Wait returns when all parts have, with the first error, if any. The part that does not stop within Grace is named
// in an error, and left behind with those that stand before it.
func (g *Group) Wait() error {
	g.mu.Lock()
	g.waited = true
	if g.running == 0 {
		g.beginToStop()
	}
	g.mu.Unlock()

	select {
	case <-g.ctx.Done():
	case <-g.stopping:
	}
	g.mu.Lock()
	g.beginToStop()
	g.mu.Unlock()
	g.goOn()
	g.mu.Lock()
	parts := g.parts
	g.mu.Unlock()

	late := g.stop(parts)
	g.mu.Lock()
	defer g.mu.Unlock()
	return errors.Join(g.err, late)
}

// goOn lets all parts work for the drain delay when the group was told to end. When a part failed there is nothing to wait
// for, and when one fails meanwhile no longer.
func (g *Group) goOn() {
	if g.drain == 0 || g.ctx.Err() == nil {
		return
	}
	select {
	case <-time.After(g.drain):
	case <-g.failing:
	}
}

// stop tells the parts to stop, the last one first, each when those after it have returned.
func (g *Group) stop(parts []*part) error {
	grace := time.NewTimer(g.Grace)
	defer grace.Stop()
	for i := len(parts) - 1; i >= 0; i-- {
		parts[i].stop()
		select {
		case <-parts[i].returned:
		case <-grace.C:
			for _, p := range parts[:i] {
				p.stop() // no time is left for turns
			}
			return fmt.Errorf("%s did not stop within %s", parts[i].name, g.Grace)
		}
	}
	return nil
}
