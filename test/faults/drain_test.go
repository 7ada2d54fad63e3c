package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/test/suite"
)

// balancer sends customers' orders to the replicas that say they are ready, as a load balancer would: over connections that
// it keeps, each request once. Whatever is not 201 is a failure.
type balancer struct {
	*testing.T
	targets []*target
	pace    *rate.Limiter
	stop    context.CancelFunc
	wg      sync.WaitGroup

	mu       sync.Mutex // guards the rest
	sold     []suite.Order
	failures []string
}

// target is one replica.
type target struct {
	*suite.Part
	client  *http.Client
	ready   atomic.Bool
	answers atomic.Int64 // 201s
}

const probeEvery = 50 * time.Millisecond

// balance begins to send orders of the sku, at most load a second.
func balance(t *testing.T, s *suite.Suite, sku string, replicas, senders, load int) *balancer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	b := &balancer{T: t, pace: rate.NewLimiter(rate.Limit(load), load/10), stop: cancel}
	for k := range replicas {
		one := &target{Part: s.Part("order-api", k), client: &http.Client{
			Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: senders, IdleConnTimeout: time.Minute},
		}}
		b.targets = append(b.targets, one)
		b.wg.Go(func() { one.watch(ctx) })
	}
	for _, one := range b.targets {
		suite.WaitFor(t, patience, func() error {
			if !one.ready.Load() {
				return fmt.Errorf("%s is not seen to be ready", one.Name)
			}
			return nil
		})
	}
	for n := range senders {
		b.wg.Go(func() { b.send(ctx, s, fmt.Sprint("sender-", n), sku) })
	}
	t.Cleanup(b.end)
	return b
}

// watch asks a replica whether it is ready. One that is slow to answer counts as it did: the machine may be busy.
func (one *target) watch(ctx context.Context) {
	probe := &http.Client{Timeout: 2 * time.Second}
	defer probe.CloseIdleConnections()
	for ctx.Err() == nil {
		ask, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+one.Ops+"/readyz", http.NoBody)
		if err != nil {
			return
		}
		answer, err := probe.Do(ask)
		var slow net.Error
		switch {
		case err == nil:
			one.ready.Store(answer.StatusCode == http.StatusOK)
			_ = answer.Body.Close() // its status says it all
		case !errors.As(err, &slow) || !slow.Timeout():
			one.ready.Store(false)
		}
		select {
		case <-ctx.Done():
		case <-time.After(probeEvery):
		}
	}
}

// send orders one unit after the other, each of a replica that is ready, in turn.
func (b *balancer) send(ctx context.Context, s *suite.Suite, who, sku string) {
	for n := 0; b.pace.Wait(ctx) == nil; n++ {
		var one *target
		for i := range b.targets {
			if next := b.targets[(n+i)%len(b.targets)]; next.ready.Load() {
				one = next
				break
			}
		}
		if one == nil {
			b.note(nil, outcome{failed: "no replica is ready: a load balancer has nowhere to send"})
			continue
		}
		b.note(one, one.buy(s, who, sku, n))
	}
}

// outcome is what became of one request.
type outcome struct {
	order  suite.Order
	failed string
}

// buy sends one request once. Its body cannot be read twice, so that the transport does not send it again by itself when a
// connection breaks. It is not broken off at the end of the load: what was asked is answered.
func (one *target) buy(s *suite.Suite, who, sku string, n int) (out outcome) {
	text, err := json.Marshal(suite.Buy(sku, 1))
	if err != nil {
		return outcome{failed: err.Error()}
	}
	ask, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+one.Addr+"/api/v1/orders", io.NopCloser(bytes.NewReader(text)))
	if err != nil {
		return outcome{failed: err.Error()}
	}
	ask.ContentLength = int64(len(text))
	ask.Header.Set("Authorization", "Bearer "+s.As(0, who).Token)
	ask.Header.Set("Content-Type", "application/json")
	ask.Header.Set("Idempotency-Key", fmt.Sprint("n", n))
	answer, err := one.client.Do(ask)
	if err != nil {
		return outcome{failed: one.Name + ": " + err.Error()}
	}
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close() // it was read to its end, or its error is told
	if err != nil || answer.StatusCode != http.StatusCreated {
		return outcome{failed: fmt.Sprintf("%s: %d %s (%v)", one.Name, answer.StatusCode, body, err)}
	}
	if err := json.Unmarshal(body, &out.order); err != nil {
		return outcome{failed: err.Error()}
	}
	return out
}

func (b *balancer) note(one *target, out outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if out.failed != "" {
		b.failures = append(b.failures, out.failed)
		return
	}
	b.sold = append(b.sold, out.order)
	one.answers.Add(1)
}

// end sends nothing more and waits for what was asked.
func (b *balancer) end() {
	b.stop()
	b.wg.Wait()
	for _, one := range b.targets {
		one.client.CloseIdleConnections()
	}
}

// served waits until a replica has acknowledged n more orders.
func (b *balancer) served(one *target, n int64) {
	b.Helper()
	want := one.answers.Load() + n
	suite.WaitMoving(b.T, patience, func() (string, error) {
		if got := one.answers.Load(); got < want {
			return fmt.Sprint(got), fmt.Errorf("%s acknowledged %d orders, want %d; failures: %q", one.Name, got, want, b.failed())
		}
		return "", nil
	})
}

// failed are the first failures.
func (b *balancer) failed() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.failures[:min(len(b.failures), 10)])
}

// TestRestartsInTurnLoseNoRequest tells one replica of order-api after the other to stop, and starts it again, while orders
// are sent as fast as the machine takes them, 2,000 a second at most: no request fails, none is applied twice, and the group
// does not wait for the session of one that left.
func TestRestartsInTurnLoseNoRequest(t *testing.T) {
	t.Parallel()
	const replicas, load, session = 2, 2000, 2 * time.Minute
	s := suite.Start(t, suite.Config{
		Replicas: map[string]int{"order-api": replicas},
		// The delay is long because a busy machine is late to look; the session because a group that waited for it would show.
		Env: []string{"FLOODGATE_DRAIN_DELAY=3s", "FLOODGATE_KAFKA_SESSION_TIMEOUT=" + session.String()},
	})
	s.Sell("tea", endless)
	began := time.Now()
	b := balance(t, s, "tea", replicas, 256, load)
	for round := range servertest.Rounds(1) {
		for k, victim := range b.targets {
			other := b.targets[(k+1)%replicas]
			b.served(victim, before/replicas)
			b.served(other, before/replicas)
			if code := victim.TerminateWithin(patience); code != 0 {
				t.Errorf("round %d: %s ended with %d", round, victim.Name, code)
			}
			b.served(other, after)
			if k == 0 && round == 0 {
				paidSoon(t, s)
			}
			victim.Start()
			victim.WaitReady(patience)
		}
	}
	for _, one := range b.targets {
		b.served(one, after)
	}
	b.end()
	took := time.Since(began)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.failures) > 0 {
		t.Errorf("%d of %d requests failed, among them %q", len(b.failures), len(b.failures)+len(b.sold), b.failures[:min(len(b.failures), 10)])
	}
	stored := storedOrders(t, s)
	for _, o := range b.sold {
		if !stored[o.ID] {
			t.Errorf("order %s was acknowledged and is not there, or was acknowledged twice", o.ID)
		}
		delete(stored, o.ID)
	}
	if len(stored) != 1 { // that of paidSoon
		t.Errorf("%d orders are there that nobody was told of", len(stored)-1)
	}
	s.Balance()
	s.NoDeadLetters()
	t.Logf("%d orders in %v, %.0f a second, over %d restarts: %d failed", len(b.sold), took.Round(time.Second),
		float64(len(b.sold))/took.Seconds(), replicas*servertest.Rounds(1), len(b.failures))
}

// storedOrders are the ids of all orders.
func storedOrders(t *testing.T, s *suite.Suite) map[string]bool {
	t.Helper()
	rows, err := s.Database(t, "order-api").QueryContext(t.Context(), `SELECT id FROM orders`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	all := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		all[id] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// paidSoon places an order while a replica is gone: its partitions have gone to the other one by the time it left, so that
// what becomes of the order is heard long before a session would have ended.
func paidSoon(t *testing.T, s *suite.Suite) {
	t.Helper()
	customer := s.As(1, "patient")
	id := customer.Must(t, http.StatusCreated, http.MethodPost, "/orders", suite.Buy("tea", 1)).Order(t).ID
	suite.WaitFor(t, patience, func() error {
		if got := customer.Must(t, http.StatusOK, http.MethodGet, "/orders/"+id, nil).Order(t); got.Status != "paid" {
			return fmt.Errorf("order %s is %s", id, got.Status)
		}
		return nil
	})
}
