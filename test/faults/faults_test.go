// Package faults_test breaks one part of a running suite after another, under load, and wants nothing lost, nothing
// doubled, and no hand needed afterwards. A run is void, not green, when less than 100 orders were acknowledged before
// the fault or less than 50 after it, or when the fault did not fire.
package faults_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/test/suite"
)

const (
	before = 100 // acknowledged orders, or the fault proves nothing
	after  = 50
)

// endless is more units than any load here can buy.
const endless = 1_000_000

func TestOrderAPIIsKilledUnderLoad(t *testing.T) {
	t.Parallel()
	s := suite.Start(t, suite.Config{Replicas: map[string]int{"order-api": 2}})
	s.Sell("tea", endless)
	s.Sell("vase", 2000)
	l := s.Load(16, "tea", "vase", "tea")
	for round := range servertest.Rounds(3) {
		l.Await(before, 30*time.Second)
		victim := s.Part("order-api", round%2)
		victim.Kill()
		l.Await(after, 30*time.Second)
		victim.Restart()
	}
	l.Stop()
	s.Kept(l.Orders())
	sellsOut(t, s, "vase")
	s.Balance()
}

// sellsOut buys until nothing is left: what the gate took and nobody bought is for sale again within a minute, and what
// is left in the allotment can be bought to the last unit.
func sellsOut(t *testing.T, s *suite.Suite, sku string) {
	t.Helper()
	buyer := s.As(0, "collector")
	suite.WaitFor(t, time.Minute, func() error {
		for {
			a, err := buyer.Do(t.Context(), http.MethodPost, "/orders", suite.Buy(sku, 1))
			if err != nil {
				return err
			}
			if a.Status == http.StatusCreated {
				continue
			}
			if left := available(t, s, sku); a.Code() != "sold-out" || left != 0 {
				return fmt.Errorf("%d %s are left, and one more was answered %v", left, sku, a)
			}
			return nil
		}
	})
}

func TestPostgresIsKilledUnderLoad(t *testing.T) {
	t.Parallel()
	pg := servertest.PostgresServer(t)
	s := suite.Start(t, suite.Config{Postgres: pg})
	s.Sell("tea", endless)
	l := s.Load(16, "tea")
	for range servertest.Rounds(2) {
		l.Await(before, 30*time.Second)
		pg.Kill()
		pg.Start()
		l.Await(after, 30*time.Second)
	}
	l.Stop()
	s.Kept(l.Orders())
	s.Balance()
}

// TestPostgresIsAwayForTenSeconds cuts the line between every service and the database.
func TestPostgresIsAwayForTenSeconds(t *testing.T) {
	t.Parallel()
	s := suite.Start(t, suite.Config{Cuttable: true})
	s.Sell("tea", endless)
	l := s.Load(8, "tea")
	l.Await(before, 30*time.Second)
	s.Line.Cut()
	restored := time.After(10 * time.Second)
	suite.WaitFor(t, 8*time.Second, func() error { return isRefused(t, s) })
	<-restored
	s.Line.Restore()
	l.Await(after, 30*time.Second)
	l.Stop()
	s.Kept(l.Orders())
	s.NoDeadLetters()
	s.Balance()
}

// isRefused wants an order to be answered 503 with a Retry-After that says how long.
func isRefused(t *testing.T, s *suite.Suite) error {
	t.Helper()
	a, err := s.As(0, "impatient").Do(t.Context(), http.MethodPost, "/orders", suite.Buy("tea", 1))
	if err != nil {
		return err
	}
	if wait, err := strconv.Atoi(a.Header.Get("Retry-After")); a.Status != http.StatusServiceUnavailable || err != nil || wait < 1 {
		return fmt.Errorf("an order without a database was answered %v (Retry-After %q), want 503 and when to come back", a, a.Header.Get("Retry-After"))
	}
	return nil
}

// TestKafkaIsAwayForTwentySeconds kills the only broker: orders are accepted all the same, and everything arrives when
// it is back.
func TestKafkaIsAwayForTwentySeconds(t *testing.T) {
	t.Parallel()
	broker := suite.StartKafka(t)
	s := suite.Start(t, suite.Config{Kafka: broker})
	s.Sell("tea", endless)
	l := s.Load(8, "tea")
	l.Await(before, 30*time.Second)
	back := time.After(20 * time.Second)
	broker.Kill()
	l.Await(after, 15*time.Second)
	l.Stop()
	<-back
	broker.Start()
	late := s.Load(4, "tea")
	late.Await(after, 30*time.Second)
	late.Stop()
	s.Kept(l.Orders())
	s.Balance()
	s.NoDeadLetters()
}

func TestRedisIsWipedStoppedAndRemembersOldTimes(t *testing.T) {
	t.Parallel()
	s := suite.Start(t, suite.Config{Replicas: map[string]int{"order-api": 2}, Env: []string{"ORDER_API_GATE=lua"}})
	s.Sell("tea", endless)
	s.Sell("vase", 1500)
	l := s.Load(16, "tea", "vase", "tea", "tea")
	l.Await(before, 30*time.Second)
	old := s.Redis.Dump()
	for range servertest.Rounds(1) {
		l.Await(before, 30*time.Second)
		if s.Redis.Wipe() == 0 {
			t.Fatal("there was nothing in Redis to wipe: the fault did not fire")
		}
		l.Await(before, 30*time.Second)
		s.Redis.Restore(old)
		l.Await(before, 30*time.Second)
		s.Redis.Stop()
		back := time.After(10 * time.Second)
		l.Await(after, 10*time.Second)
		<-back
		s.Redis.Cont()
		l.Await(before, 30*time.Second)
		s.Redis.Kill()
		l.Await(after, 10*time.Second)
		s.Redis.Start()
		l.Await(after, 30*time.Second)
	}
	l.Stop()
	s.Kept(l.Orders())
	sellsOut(t, s, "vase")
	s.Balance()
}

// TestConsumersAreKilledAndStopped kills one of two replicas of each consumer in the middle of its work, and stops one
// past its session timeout while the other takes over; then the stopped one wakes up and finds its work done.
func TestConsumersAreKilledAndStopped(t *testing.T) {
	t.Parallel()
	s := suite.Start(t, suite.Config{
		Replicas: map[string]int{"inventory": 2, "points": 2, "logistics": 2},
		Env:      []string{"FLOODGATE_KAFKA_SESSION_TIMEOUT=3s"},
	})
	s.Sell("tea", endless)
	l := s.Load(8, "tea")
	for range servertest.Rounds(1) {
		for _, name := range []string{"points", "logistics", "inventory"} {
			l.Await(before, 30*time.Second)
			s.Part(name, 0).Kill()
			l.Await(after, 30*time.Second)
			s.Part(name, 0).Restart()
		}
		l.Await(before, 30*time.Second)
		for _, name := range []string{"points", "logistics", "inventory"} {
			s.Part(name, 0).Stop()
		}
		overslept := time.After(8 * time.Second)
		l.Await(after, 30*time.Second)
		<-overslept
		for _, name := range []string{"points", "logistics", "inventory"} {
			s.Part(name, 0).Cont()
		}
	}
	l.Await(after, 30*time.Second)
	l.Stop()
	s.Balance()
	s.NoDeadLetters()
}

// TestOrderAPIIsStoppedInsideATransaction freezes a replica that holds rows which the other one needs.
func TestOrderAPIIsStoppedInsideATransaction(t *testing.T) {
	t.Parallel()
	s := suite.Start(t, suite.Config{Replicas: map[string]int{"order-api": 2}})
	s.Sell("tea", endless)
	l, others := s.Load(16, "tea"), s.LoadAt([]int{0}, 8, "tea")
	l.Await(before, 30*time.Second)
	frozen := s.Part("order-api", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !stoppedInside(ctx, t, s, frozen) {
		frozen.Cont()
		l.Await(1, 10*time.Second) // it is working again, and will be inside another transaction
	}
	begun := time.Now()
	others.Await(after, 10*time.Second)
	t.Logf("%d orders acknowledged within %v of the stop", after, time.Since(begun).Round(time.Millisecond))
	frozen.Cont()
	l.Await(after, 30*time.Second)
	l.Stop()
	others.Stop()
	s.Kept(append(l.Orders(), others.Orders()...))
	s.Balance()
}

// stoppedInside stops p and says whether that left a transaction on the orders open. What the database was doing for it
// comes to its end first; then the session is idle in its transaction, until the database ends it.
func stoppedInside(ctx context.Context, t *testing.T, s *suite.Suite, p *suite.Part) bool {
	t.Helper()
	if ctx.Err() != nil {
		t.Fatal("the process was never caught inside a transaction: the fault did not fire")
	}
	db := s.Database(t, "order-api")
	p.Stop()
	for deadline := time.Now().Add(500 * time.Millisecond); time.Now().Before(deadline); {
		var held int
		err := db.QueryRowContext(ctx, `
			SELECT count(*) FROM pg_stat_activity a
			WHERE a.datname = current_database() AND a.state = 'idle in transaction'
			  AND clock_timestamp() - a.state_change > interval '100 milliseconds'
			  AND EXISTS (SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
			              WHERE l.pid = a.pid AND c.relname = 'allotments' AND l.mode IN ('RowShareLock', 'RowExclusiveLock'))`).Scan(&held)
		if err != nil {
			t.Fatal(err)
		}
		if held > 0 {
			return true
		}
	}
	return false
}
