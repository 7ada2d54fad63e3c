package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// SQLite serialises writers and proves nothing about races, so these run on Postgres.

func TestRaces(t *testing.T) {
	t.Parallel()

	t.Run("OneSkuIsSoldExactly", func(t *testing.T) {
		t.Parallel()
		s := open(t, servertest.Postgres(t))
		s.stock(t, "tea", 100)
		var sold, refusedAs atomic.Int64
		together(t, 24, func(ctx context.Context, worker int) error {
			for range 5 {
				drafts := make([]order.Draft, 1+worker%5)
				for i := range drafts {
					drafts[i] = draft(fmt.Sprint("u-", worker), line("tea", 1))
				}
				verdicts, err := s.Accept(ctx, drafts)
				if err != nil {
					return err
				}
				for _, v := range verdicts {
					if v.Accepted() {
						sold.Add(1)
					} else if code(v.Err) == order.SoldOut {
						refusedAs.Add(1)
					}
				}
			}
			return nil
		})
		if sold.Load() != 100 || refusedAs.Load() != 350-100 || s.remaining(t, "tea") != 0 {
			t.Errorf("sold %d, refused %d, %d remain", sold.Load(), refusedAs.Load(), s.remaining(t, "tea"))
		}
		s.books(t)
	})

	t.Run("OneKeyIsOneOrderOverTwoReplicas", func(t *testing.T) {
		t.Parallel()
		one := open(t, servertest.Postgres(t))
		two := open(t, one.db)
		for round := range servertest.Rounds(5) {
			// Bodies that share no sku share no lock: only the unique key stands between them.
			for i := range 4 {
				one.stock(t, fmt.Sprintf("sku-%d-%d", round, i), 100)
			}
			var accepted, replayed, reused atomic.Int64
			together(t, 20, func(ctx context.Context, worker int) error {
				s := []shop{one, two}[worker%2]
				d := keyed(fmt.Sprint("k", round), draft("ann", line(fmt.Sprintf("sku-%d-%d", round, worker%4), 1)))
				verdicts, err := s.Accept(ctx, []order.Draft{d})
				switch {
				case err != nil:
					return err
				case verdicts[0].Accepted():
					accepted.Add(1)
				case verdicts[0].Replayed:
					replayed.Add(1)
				case code(verdicts[0].Err) == order.KeyReused:
					reused.Add(1)
				}
				return nil
			})
			if accepted.Load() != 1 || replayed.Load() != 4 || reused.Load() != 15 {
				t.Errorf("accepted %d, replayed %d, reused %d", accepted.Load(), replayed.Load(), reused.Load())
			}
		}
		one.books(t)
	})

	t.Run("ALimitHoldsOverManyOrders", func(t *testing.T) {
		t.Parallel()
		s := open(t, servertest.Postgres(t))
		s.stock(t, "tea", 100, limit(7))
		var sold atomic.Int64
		together(t, 20, func(ctx context.Context, _ int) error {
			verdicts, err := s.Accept(ctx, []order.Draft{draft("ann", line("tea", 2))})
			if err == nil && verdicts[0].Accepted() {
				sold.Add(1)
			}
			return err
		})
		if sold.Load() != 3 {
			t.Errorf("sold %d orders of 2, want 3", sold.Load())
		}
	})

	t.Run("CancelPayAndExpireHaveOneWinner", func(t *testing.T) {
		t.Parallel()
		s := open(t, servertest.Postgres(t))
		s.stock(t, "tea", 1_000_000)
		won := map[order.Status]int{}
		for round := range servertest.Rounds(10) {
			won[s.raceForOneOrder(t, round)]++
		}
		t.Logf("winners: %v", won)
		s.books(t)
	})

	t.Run("AGrantCountsOnce", func(t *testing.T) {
		t.Parallel()
		s := open(t, servertest.Postgres(t))
		s.must(t, listed("tea", 1), listed("sku-0", 1))
		var changed atomic.Int64
		together(t, 12, func(ctx context.Context, _ int) error {
			for i := range 20 {
				a, err := s.apply(ctx, granted(fmt.Sprint("g", i), fmt.Sprint("sku-", i%3), 1), granted("all", "tea", 1))
				if err != nil {
					return err
				}
				for _, c := range a.Changed {
					if c {
						changed.Add(1)
					}
				}
			}
			return nil
		})
		if changed.Load() != 21 || s.remaining(t, "sku-0") != 7 || s.remaining(t, "tea") != 1 {
			t.Errorf("changed %d, remaining %d and %d", changed.Load(), s.remaining(t, "sku-0"), s.remaining(t, "tea"))
		}
	})
}

// together runs work on n goroutines and waits for all; every error fails the test.
func together(t *testing.T, n int, work func(ctx context.Context, worker int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := work(t.Context(), i); err != nil {
				t.Errorf("worker %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// raceForOneOrder lets 50 cancels, a payment, the expiry and the booking run at one order, and checks what must hold
// whoever was first.
func (s shop) raceForOneOrder(t *testing.T, round int) order.Status {
	t.Helper()
	d := draft("ann", line("tea", 3))
	d.Window = -time.Second
	o := s.buy(t, d)
	before := s.remaining(t, "tea")
	if round%2 == 0 {
		s.must(t, about(order.UnitsBooked, o.ID, "inventory"))
	}
	var paid atomic.Bool
	turns := rand.Perm(53)
	if at := slices.Index(turns, 0); round%3 == 1 {
		turns[0], turns[at] = turns[at], turns[0] // let the payment win now and then
	}
	together(t, 53, func(ctx context.Context, worker int) error {
		var err error
		switch turns[worker] {
		case 0:
			_, err = s.Pay(ctx, o.ID, "p", "shop:x")
			paid.Store(err == nil)
		case 1:
			_, _, err = s.Expire(ctx, 10)
		case 2:
			_, err = s.apply(ctx, about(order.UnitsBooked, o.ID, "inventory"))
		default:
			_, _, err = s.Cancel(ctx, o.ID, "ann", "")
		}
		if code(err) == order.IllegalMove {
			return nil
		}
		return err
	})
	got, refunds, back := s.get(t, o.ID), s.refunds(t, o.ID), s.remaining(t, "tea")-before
	switch got.Status {
	case order.Paid:
		if !paid.Load() || len(refunds) != 0 || back != 0 {
			t.Errorf("paid: paid %v, refunds %v, %d units back", paid.Load(), refunds, back)
		}
	case order.Cancelled:
		if len(refunds) != 1 || refunds["p"] == "" || back != 3 {
			t.Errorf("cancelled: refunds %v, %d units back", refunds, back)
		}
	default:
		t.Errorf("nobody won: %s", got.Status)
	}
	s.versions(t, o.ID)
	return got.Status
}

// TestLawSix lets batches of orders, cancels, bookings, grants and revokes run over the same rows: no transaction ever
// dies of a deadlock, not even one that would have run again unseen.
func TestLawSix(t *testing.T) {
	t.Parallel()
	const skus, workers = 200, 8
	dsn := servertest.PostgresDSN(t)
	s := open(t, servertest.Open(t, dsn))
	facts := make([]order.Fact, 0, 2*skus)
	for i := range skus {
		facts = append(facts, listed(fmt.Sprint("sku-", i), 1), granted(fmt.Sprint("g-", i), fmt.Sprint("sku-", i), 1000))
	}
	s.must(t, facts...)
	var mu sync.Mutex // guards live
	var live []string
	for range 40 {
		live = append(live, s.buy(t, draft("ann", line("sku-0", 1))).ID)
	}
	some := func(r *rand.Rand) []string {
		mu.Lock()
		defer mu.Unlock()
		ids := make([]string, 0, 20)
		for range min(20, len(live)) { // among the newest few, so that workers meet
			ids = append(ids, live[len(live)-1-r.IntN(min(40, len(live)))])
		}
		return ids
	}
	turns := 8 * servertest.Rounds(1)
	together(t, workers+4, func(ctx context.Context, worker int) error {
		r := rand.New(rand.NewPCG(uint64(worker), 6))
		for turn := range turns {
			switch {
			case worker < workers:
				drafts := make([]order.Draft, 40)
				for i := range drafts {
					drafts[i] = draft(fmt.Sprint("u-", r.IntN(9)), randomLines(r, skus)...)
				}
				if _, err := s.Accept(ctx, drafts); err != nil {
					return err
				}
				mu.Lock()
				for _, d := range drafts {
					live = append(live, d.ID)
				}
				mu.Unlock()
			case worker == workers:
				for _, id := range some(r) {
					if _, _, err := s.Cancel(ctx, id, "ann", ""); err != nil && code(err) == "" {
						return err
					}
				}
			default:
				var facts []order.Fact
				for i, id := range some(r) {
					facts = append(facts, about(order.UnitsBooked, id, "inventory"),
						granted(fmt.Sprintf("%d-%d-%d", worker, turn, i), fmt.Sprint("sku-", r.IntN(skus+9)), 3),
						revoked(fmt.Sprintf("%d-%d-%d", worker, turn, i), fmt.Sprint("sku-", r.IntN(skus+9)), 2))
				}
				if _, err := s.apply(ctx, facts...); err != nil {
					return err
				}
			}
		}
		return nil
	})
	s.books(t)
	must(t, s.db.Close()) // its backends report what they met when they end
	if n := deadlocks(t, servertest.Open(t, dsn)); n != 0 {
		t.Errorf("%d transactions died of deadlock", n)
	}
}

func randomLines(r *rand.Rand, skus int) []order.Line {
	lines := make([]order.Line, 1+r.IntN(5))
	for i := range lines {
		lines[i] = line(fmt.Sprint("sku-", r.IntN(skus)), 1)
	}
	return lines
}

// deadlocks waits until all other backends of the database have ended and answers how many deadlocks they met.
func deadlocks(t *testing.T, db *database.DB) (n int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for others := 1; others > 0; {
		must(t, db.QueryRowContext(ctx, `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&others))
	}
	must(t, db.QueryRowContext(ctx, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).Scan(&n))
	return n
}

// TestSettle cuts the connection while a COMMIT takes its time.
func TestSettle(t *testing.T) {
	t.Parallel()
	dsn := servertest.PostgresDSN(t)
	s := open(t, servertest.Open(t, dsn))
	s.stock(t, "tea", 5)
	_, err := s.db.ExecContext(t.Context(), `
		CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3); RETURN NULL; END';
		CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle()`)
	must(t, err)
	u, err := url.Parse(dsn)
	must(t, err)
	link := servertest.Proxy(t, u.Host)
	u.Host = link.Addr
	far := open(t, servertest.Open(t, u.String()))

	d, never := draft("ann", line("tea", 2)), draft("ann", line("tea", 2))
	accepted := make(chan error, 1)
	go func() {
		_, err := far.Accept(t.Context(), []order.Draft{d})
		accepted <- err
	}()
	s.awaitCommit(t)
	link.Cut() // for good, so that the driver's request to cancel what runs is lost too
	if err := <-accepted; !errors.Is(err, database.ErrUnknownOutcome) {
		t.Fatalf("Accept: %v, want an unknown outcome", err)
	}
	if _, err := s.Get(t.Context(), d.ID); code(err) != order.NotFound {
		t.Fatalf("the COMMIT was over before it could be lost: %v", err)
	}
	settled, err := s.Settle(t.Context(), []order.Draft{never, d})
	must(t, err)
	if settled[0] != nil || settled[1] == nil || settled[1].Order.ID != d.ID || !settled[1].Accepted() {
		t.Errorf("settled %+v", settled)
	}
	if left := s.remaining(t, "tea"); left != 3 {
		t.Errorf("%d remain, want 3", left)
	}
	s.books(t)
}

// awaitCommit waits until a COMMIT runs in the test's database.
func (s shop) awaitCommit(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for running := 0; running == 0; {
		must(t, s.db.QueryRowContext(ctx, `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND state = 'active' AND lower(query) = 'commit'`).Scan(&running))
	}
}
