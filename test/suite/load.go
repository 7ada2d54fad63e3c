package suite

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Load is customers who keep ordering, whatever happens to the replicas they go to.
type Load struct {
	s    *Suite
	at   []int  // replicas
	name string // keeps one load's customers and keys apart from another's
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex // guards the rest
	sold    []Order
	answers map[string]int // by status and code; "no answer" for a line that broke
}

// Load starts buyers customers who order one unit of one of the skus each, again and again, over every replica, until
// Stop or the end of the test.
func (s *Suite) Load(buyers int, skus ...string) *Load {
	s.tb.Helper()
	var all []int
	for k := range s.parts["order-api"] {
		all = append(all, k)
	}
	return s.LoadAt(all, buyers, skus...)
}

// LoadAt is Load at some replicas only: who waits at a frozen door says nothing about the others.
func (s *Suite) LoadAt(replicas []int, buyers int, skus ...string) *Load {
	s.tb.Helper()
	ctx, cancel := context.WithCancel(s.tb.Context())
	l := &Load{s: s, at: replicas, name: fmt.Sprint("at", replicas), stop: cancel, answers: map[string]int{}}
	for b := range buyers {
		l.wg.Go(func() { l.buy(ctx, b, skus) })
	}
	s.tb.Cleanup(l.Stop)
	return l
}

func (l *Load) buy(ctx context.Context, buyer int, skus []string) {
	who := fmt.Sprintf("buyer-%d-%s", buyer, l.name)
	for n := buyer; ctx.Err() == nil; n++ {
		customer := l.s.As(l.at[n%len(l.at)], who)
		a, err := customer.Do(ctx, http.MethodPost, "/orders", Buy(skus[n%len(skus)], 1), "Idempotency-Key", fmt.Sprint("n", n))
		if ctx.Err() == nil && (err != nil || a.Status == http.StatusServiceUnavailable) {
			pause(ctx, 50*time.Millisecond) // a customer does not hammer on a closed door
		}
		l.note(a, err)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// note counts an answer. An order that was acknowledged counts even if the test was ending.
func (l *Load) note(a Answer, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.answers["no answer"]++
	case a.Status == http.StatusCreated:
		l.answers["201"]++
		l.sold = append(l.sold, a.Order(l.s.tb))
	default:
		l.answers[fmt.Sprint(a.Status, " ", a.Code())]++
	}
}

// Sold is how many orders were acknowledged so far.
func (l *Load) Sold() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sold)
}

// Orders are all acknowledged orders so far.
func (l *Load) Orders() []Order {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.sold)
}

// Answers says how often each answer came.
func (l *Load) Answers() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]int{}
	for answer, n := range l.answers {
		all[answer] = n
	}
	return all
}

// Await waits until n more orders were acknowledged; a run with too little traffic is void.
func (l *Load) Await(n int, limit time.Duration) {
	l.s.tb.Helper()
	want := l.Sold() + n
	WaitFor(l.s.tb, limit, func() error {
		if got := l.Sold(); got < want {
			return fmt.Errorf("%d orders acknowledged, want %d: %v", got, want, l.Answers())
		}
		return nil
	})
}

// Stop sends the customers home and waits for them.
func (l *Load) Stop() {
	l.stop()
	l.wg.Wait()
}

// Kept fails the test if an acknowledged order is not there, complete, with the lines and the total it was answered with.
func (s *Suite) Kept(orders []Order) {
	s.tb.Helper()
	for i, o := range orders {
		a := s.As(i%len(s.parts["order-api"]), o.UserID).Must(s.tb, http.StatusOK, http.MethodGet, "/orders/"+o.ID, nil)
		if got := a.Order(s.tb); got.TotalCents != o.TotalCents || !slices.Equal(got.Items, o.Items) || got.UserID != o.UserID {
			s.tb.Errorf("order %s is %+v, was acknowledged as %+v", o.ID, got, o)
		}
	}
}
