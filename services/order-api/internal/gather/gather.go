// Package gather asks one question for many who want one answer each: while a question is under way, the next one gathers.
// With one caller a question has one key; there is no timer. Who wants what is being asked for shares the answer.
package gather

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Question answers keys; those that it does not name have no answer.
type Question[V any] func(ctx context.Context, keys []string) (map[string]V, error)

// Loader gathers keys for a Question.
type Loader[V any] struct {
	ask   Question[V]
	most  int
	limit time.Duration

	mu      sync.Mutex
	waiting map[string]*load[V] // guarded by mu
	asked   map[string]*load[V] // guarded by mu
	running bool                // guarded by mu
}

// load is one key that somebody waits for.
type load[V any] struct {
	done  chan struct{} // closed when the rest is set
	value V
	found bool
	err   error
}

// over says that the answer is there. Who comes later asks anew: what he asks about may have changed since.
func (l *load[V]) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// New returns a Loader that asks for most keys at once, and waits for an answer for limit.
func New[V any](most int, limit time.Duration, ask Question[V]) *Loader[V] {
	return &Loader[V]{ask: ask, most: most, limit: limit, waiting: map[string]*load[V]{}}
}

// Load is the answer for key. The question does not end with ctx, for others wait for the same; who leaves hears so.
func (l *Loader[V]) Load(ctx context.Context, key string) (value V, found bool, err error) {
	wanted := l.join(context.WithoutCancel(ctx), key)
	select {
	case <-wanted.done:
		return wanted.value, wanted.found, wanted.err
	case <-ctx.Done():
		return value, false, ctx.Err()
	}
}

func (l *Loader[V]) join(ctx context.Context, key string) *load[V] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if under := l.asked[key]; under != nil && !under.over() {
		return under
	}
	next := l.waiting[key]
	if next == nil {
		next = &load[V]{done: make(chan struct{})}
		l.waiting[key] = next
	}
	if !l.running {
		l.running = true
		go l.run(ctx)
	}
	return next
}

// run asks until nobody waits.
func (l *Loader[V]) run(ctx context.Context) {
	for {
		l.mu.Lock()
		l.asked, l.waiting = l.waiting, map[string]*load[V]{}
		wanted := l.asked
		l.running = len(wanted) > 0
		l.mu.Unlock()
		if len(wanted) == 0 {
			return
		}
		for keys := range slices.Chunk(slices.Collect(maps.Keys(wanted)), l.most) {
			answers, err := l.bounded(ctx, keys)
			for _, key := range keys {
				w := wanted[key]
				w.value, w.found = answers[key]
				w.err = err
				close(w.done)
			}
		}
	}
}

func (l *Loader[V]) bounded(ctx context.Context, keys []string) (map[string]V, error) {
	ctx, cancel := context.WithTimeout(ctx, l.limit)
	defer cancel()
	return l.ask(ctx, keys)
}
