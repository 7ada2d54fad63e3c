package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/test/suite"
)

func TestOneOrderLivesItsLifeOnServers(t *testing.T) {
	t.Parallel()
	s := suite.Start(t, suite.Config{})
	s.Sell("tea", 10)
	door{"http://" + s.Part("order-api", 0).Addr}.journey(t, "tea", "u-1")
	s.Balance()
	for _, p := range s.All() {
		if code := p.Terminate(); code != 0 {
			t.Errorf("%s ended with status %d after SIGTERM, want 0", p.Name, code)
		}
	}
}

// TestOneIntentIsOneOrder sends one key again and again: at once over two replicas, after kill -9, when the item is
// sold out, and when it is retired.
func TestOneIntentIsOneOrder(t *testing.T) {
	t.Parallel()
	s := suite.Start(t, suite.Config{Replicas: map[string]int{"order-api": 2}})
	s.Sell("tea", 5)
	post := func(k int, quantity int) suite.Answer {
		a, err := s.As(k, "u-1").Do(t.Context(), http.MethodPost, "/orders", suite.Buy("tea", quantity), "Idempotency-Key", "one-intent")
		if err != nil {
			t.Errorf("post: %v", err)
		}
		return a
	}

	answers := make([]suite.Answer, 100)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = post(i%2, 2) })
	}
	wg.Wait()
	first, fresh := answers[0], 0
	same := func(when string, a suite.Answer) {
		t.Helper()
		if a.Status != http.StatusCreated || !bytes.Equal(a.Body, first.Body) {
			t.Errorf("%s: answered %v, want %v", when, a, first)
		}
	}
	for _, a := range answers {
		same("at once", a)
		if a.Header.Get("Idempotent-Replayed") != "true" {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("%d of 100 answers were no replay, want 1", fresh)
	}
	if a := post(1, 1); a.Status != http.StatusUnprocessableEntity || a.Code() != "idempotency-key-reused" {
		t.Errorf("another body: %v, want 422 idempotency-key-reused", a)
	}

	s.Part("order-api", 0).Kill()
	s.Part("order-api", 0).Restart()
	same("after kill -9", post(0, 2))

	s.As(1, "u-2").Must(t, http.StatusCreated, http.MethodPost, "/orders", suite.Buy("tea", 3))
	if a := s.As(0, "u-2").Must(t, http.StatusConflict, http.MethodPost, "/orders", suite.Buy("tea", 1)); a.Code() != "sold-out" {
		t.Errorf("the sixth of five units: %v", a)
	}
	same("sold out", post(0, 2))
	same("sold out, the other replica", post(1, 2))

	if a, err := s.As(0, "stocker", "operator").Do(t.Context(), http.MethodDelete, "/items/tea", nil); err != nil || a.Status/100 != 2 {
		t.Fatalf("retire: %v %v", a, err)
	}
	suite.WaitFor(t, 20*time.Second, func() error {
		for k := range 2 {
			a, err := s.As(k, "u-3").Do(t.Context(), http.MethodGet, "/items/tea", nil)
			if err != nil {
				return err
			}
			if a.Status != http.StatusNotFound {
				return fmt.Errorf("replica %d still knows the retired item: %v", k, a)
			}
		}
		return nil
	})
	same("retired", post(0, 2))
	same("retired, the other replica", post(1, 2))
	s.Balance()
}

// TestTwoThousandBuyersForAHundredUnits runs over two replicas, with the gate and without it.
func TestTwoThousandBuyersForAHundredUnits(t *testing.T) {
	t.Parallel()
	for _, gate := range []string{"lua", "off"} { //nolint:paralleltest // one after the other: each fills both cores
		t.Run("gate "+gate, func(t *testing.T) {
			s := suite.Start(t, suite.Config{Replicas: map[string]int{"order-api": 2}, Env: []string{"ORDER_API_GATE=" + gate}})
			for round := range servertest.Rounds(1) {
				sku := fmt.Sprintf("drop-%d", round)
				s.Sell(sku, 100)
				drop(t, s, sku)
			}
			s.Balance()
		})
	}
}

func drop(t *testing.T, s *suite.Suite, sku string) {
	t.Helper()
	const buyers = 2000
	answers := make([]string, buyers)
	var wg sync.WaitGroup
	line := make(chan struct{}, 250) // who stands at the door at once
	for b := range buyers {
		line <- struct{}{}
		wg.Go(func() {
			defer func() { <-line }()
			answers[b] = buyOnce(t, s.As(b%2, fmt.Sprintf("%s-buyer-%d", sku, b)), sku)
		})
	}
	wg.Wait()
	got := map[string]int{}
	for _, a := range answers {
		got[a]++
	}
	if got["201"] != 100 || got["409 sold-out"] != buyers-100 {
		t.Errorf("%s: answers %v, want 100 × 201 and %d × 409 sold-out", sku, got, buyers-100)
	}
}

// buyOnce is one buyer, who comes back when told that the door is crowded.
func buyOnce(t *testing.T, c suite.Client, sku string) string {
	t.Helper()
	for t.Context().Err() == nil {
		a, err := c.Do(t.Context(), http.MethodPost, "/orders", suite.Buy(sku, 1))
		switch {
		case err != nil:
			return err.Error()
		case a.Status == http.StatusCreated:
			return "201"
		case a.Status != http.StatusServiceUnavailable:
			return fmt.Sprint(a.Status, " ", a.Code())
		}
	}
	return "the test ended"
}
