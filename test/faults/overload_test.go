package faults_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/test/suite"
)

const (
	// dawdle is what each batch waits before its COMMIT, and places is how many orders are let in. One batch commits while
	// the next gathers, so all places are served in two batches: little enough for any machine to offer ten times as much.
	dawdle = 400 * time.Millisecond
	places = 64
)

// asked is one order of a load, and what became of it.
type asked struct {
	due    time.Time // when it should have been sent; its time counts from here
	took   time.Duration
	status int    // 0 for no answer
	again  string // Retry-After
	id     string
}

// TestOverloadBendsAndDoesNotBreak throttles what can be taken and asks for ten times as much. What can be taken is taken,
// those who are let in wait about as long as in calm, whoever pays, cancels or reads is served, and afterwards all is as
// before. Times are compared with times of the same run only, and what a neighbour on the machine may spoil is tried again.
//
//nolint:paralleltest // other tests would take the time that this one compares
func TestOverloadBendsAndDoesNotBreak(t *testing.T) {
	s := suite.Start(t, suite.Config{Env: []string{"ORDER_API_ACCEPT_DELAY=" + dawdle.String(), "ORDER_API_ADMIT_ORDERS=" + strconv.Itoa(places)}})
	s.Sell("tea", endless)
	for try := 1; ; try++ {
		slow := bends(t, s, fmt.Sprint(try))
		if len(slow) == 0 {
			break
		}
		t.Logf("try %d: %q", try, slow)
		if try == 3 {
			t.Fatalf("three times in a row: %q", slow)
		}
	}
	s.Balance()
}

// bends overloads once. It says what was too slow; all else that is wrong fails the test.
func bends(t *testing.T, s *suite.Suite, try string) (slow []string) {
	t.Helper()
	full, _ := sorted(saturate(t, s, 6*time.Second))
	capacity := perSecond(full)
	calm, lost := sorted(offer(t, s, "calm-"+try, capacity/2, 4*time.Second))
	if len(lost) > 0 {
		t.Fatalf("at half of capacity (%.0f/s) an order was answered %d", capacity, lost[0].status)
	}

	ctx, leave := context.WithCancel(t.Context())
	served := make(chan [2]int, 1)
	go func() { served <- others(ctx, t, s, s.As(0, "buyer-calm-"+try), calm) }()
	crowd := offer(t, s, "crowd-"+try, 10*capacity, time.Duration(servertest.Rounds(10))*time.Second)
	leave()
	well := <-served
	behind := offer(t, s, "after-"+try, 0.8*capacity, 8*time.Second)

	taken, refused := sorted(crowd)
	t.Logf("capacity %.0f/s, calm p99 %v; of %d offered %d were taken (%.0f/s, p99 %v) and %d turned away (p50 %v); %d of %d others served",
		capacity, p(calm, 99), len(crowd), len(taken), perSecond(taken), p(taken, 99), len(refused), p(refused, 50), well[0], well[1])
	if len(taken) < before || len(refused) < 5*len(taken) {
		t.Fatalf("%d were taken and %d turned away: the load was no overload", len(taken), len(refused))
	}
	if got := perSecond(taken); got < 0.8*capacity {
		slow = append(slow, fmt.Sprintf("%.0f orders a second were taken under overload, want at least 80%% of %.0f", got, capacity))
	}
	if got, most := p(taken, 99), 3*p(calm, 99); got > most {
		slow = append(slow, fmt.Sprintf("the p99 of those who were let in is %v, want at most three times calm: %v", got, most))
	}
	for _, a := range refused {
		if wait, err := strconv.Atoi(a.again); a.status != http.StatusServiceUnavailable || err != nil || wait < 1 {
			t.Fatalf("what is too much is answered %d, Retry-After %q", a.status, a.again)
		}
	}
	if well[1] < after || well[0]*100 < well[1]*99 {
		t.Errorf("of %d who paid, cancelled or read %d were served, want at least %d and 99%% of them", well[1], well[0], after)
	}
	recovered := behind[0].due.Add(5 * time.Second)
	late := slices.DeleteFunc(slices.Clone(behind), func(a asked) bool { return a.due.Before(recovered) })
	if again, _ := sorted(late); len(again) < after || len(again)*100 < len(late)*95 {
		slow = append(slow, fmt.Sprintf("of %d orders %d were taken 5 seconds after the crowd left, want 95%%", len(late), len(again)))
	}
	return slow
}

// saturate keeps every place taken: as many customers as there are places, and some at the door, who order again and again.
func saturate(t *testing.T, s *suite.Suite, during time.Duration) []asked {
	t.Helper()
	var mu sync.Mutex // guards all
	var all []asked
	var wg sync.WaitGroup
	end := time.Now().Add(during)
	for b := range places + places/4 {
		wg.Go(func() {
			for time.Now().Before(end) {
				a := order(t, s, fmt.Sprint("first-", b), time.Now())
				if a.status != http.StatusCreated {
					<-time.After(50 * time.Millisecond) // a customer does not hammer on a closed door
				}
				mu.Lock()
				all = append(all, a)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return all
}

// offer sends rate orders a second, each at its moment whether or not others were answered.
func offer(t *testing.T, s *suite.Suite, name string, rate float64, during time.Duration) []asked {
	t.Helper()
	all := make([]asked, int(rate*during.Seconds()))
	var wg sync.WaitGroup
	began := time.Now()
	for i := range all {
		due := began.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		<-time.After(time.Until(due))
		wg.Go(func() { all[i] = order(t, s, "buyer-"+name, due) })
	}
	wg.Wait()
	return all
}

// order orders one unit that is to be paid later. What is not answered has no status.
func order(t *testing.T, s *suite.Suite, who string, due time.Time) asked {
	t.Helper()
	body := suite.Buy("tea", 1)
	body["payment"] = "deferred"
	got, err := s.As(0, who).Do(t.Context(), http.MethodPost, "/orders", body)
	a := asked{due: due, took: time.Since(due)}
	if err != nil {
		t.Logf("an order was not answered: %v", err)
		return a
	}
	a.status, a.again = got.Status, got.Header.Get("Retry-After")
	if a.status == http.StatusCreated {
		a.id = got.Order(t).ID
	}
	return a
}

// others are those who pay, cancel and read what was ordered in calm, twenty times a second until ctx ends. It says how many
// were served, of how many.
func others(ctx context.Context, t *testing.T, s *suite.Suite, customer suite.Client, orders []asked) (well [2]int) {
	t.Helper()
	shop := s.As(0, "till", "shop")
	var mu sync.Mutex // guards well
	ask := func(as suite.Client, method, path string, in any) {
		a, err := as.Do(t.Context(), method, path, in)
		mu.Lock()
		defer mu.Unlock()
		well[1]++
		if err != nil || a.Status != http.StatusOK {
			t.Logf("%s %s: %v %v", method, path, a, err)
			return
		}
		well[0]++
	}
	var wg sync.WaitGroup
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil && i/2 < len(orders); i++ {
		path := "/orders/" + orders[i/2].id
		wg.Go(func() {
			switch i % 4 {
			case 0:
				ask(shop, http.MethodPost, path+"/pay", map[string]any{"paymentRef": "paid-" + path})
			case 1:
				ask(customer, http.MethodGet, path, nil)
			case 2:
				ask(customer, http.MethodPost, path+"/cancel", map[string]any{"reason": "too slow"})
			case 3:
				ask(customer, http.MethodGet, "/items/tea", nil)
			}
		})
		<-tick.C
	}
	wg.Wait()
	return well
}

// sorted tells those that were taken from those that were not.
func sorted(all []asked) (taken, refused []asked) {
	for _, a := range all {
		if a.status == http.StatusCreated {
			taken = append(taken, a)
		} else {
			refused = append(refused, a)
		}
	}
	return taken, refused
}

// p is a percentile of how long they took.
func p(all []asked, percent int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	times := make([]time.Duration, len(all))
	for i, a := range all {
		times[i] = a.took
	}
	slices.Sort(times)
	return times[(len(times)-1)*percent/100]
}

// perSecond is how many were answered in a second, from the first answer to the last. Those of the first batch do not count: what
// they waited for lies before it.
func perSecond(all []asked) float64 {
	ends := make([]time.Time, len(all))
	for i, a := range all {
		ends[i] = a.due.Add(a.took)
	}
	slices.SortFunc(ends, time.Time.Compare)
	later := slices.IndexFunc(ends, func(at time.Time) bool { return at.After(ends[0].Add(dawdle / 2)) })
	if later < 0 {
		return 0
	}
	return float64(len(ends)-later) / ends[len(ends)-1].Sub(ends[0]).Seconds()
}
