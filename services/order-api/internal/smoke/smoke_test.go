package smoke_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/smoke"
)

// suite plays order-api's door: what a test does not override answers as a healthy suite would.
type suite struct {
	overrides map[string]http.HandlerFunc // by "METHOD path", ids and skus as *

	mu    sync.Mutex // guards what follows
	asked []string
}

var healthy = map[string]http.HandlerFunc{
	"GET /items":             answer(200, `{"items":[]}`),
	"PUT /items/*":           answer(202, `{}`),
	"POST /items/*/stock":    answer(202, `{}`),
	"GET /items/*":           answer(200, `{"available":1}`),
	"POST /orders":           answer(201, `{"id":"o-1"}`),
	"GET /orders/*":          answer(200, `{"status":"paid"}`),
	"GET /orders/*/shipment": answer(200, `{"id":"s-1"}`),
	"POST /orders/*/refund":  answer(200, `{}`),
	"POST /orders/*/cancel":  answer(200, `{}`),
	"DELETE /items/*":        answer(202, `{}`),
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// first answers its first callers with those, then as a healthy suite.
func first(route string, answers ...http.HandlerFunc) http.HandlerFunc {
	var n int
	return func(w http.ResponseWriter, r *http.Request) {
		if n++; n <= len(answers) {
			answers[n-1](w, r)
			return
		}
		healthy[route](w, r)
	}
}

func (s *suite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/v1/"), "/")
	if len(parts) > 1 {
		parts[1] = "*"
	}
	route := r.Method + " /" + strings.Join(parts, "/")
	s.asked = append(s.asked, route)
	if r.Header.Get("Authorization") != "Bearer t0ken" {
		answer(401, "who are you")(w, r)
		return
	}
	handle := s.overrides[route]
	if handle == nil {
		handle = healthy[route]
	}
	if handle == nil {
		handle = answer(404, "no such route "+route)
	}
	handle(w, r)
}

func (s *suite) run(t *testing.T, patience time.Duration) (said string, err error) {
	t.Helper()
	server := httptest.NewServer(s)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out strings.Builder
	err = smoke.Run(ctx, smoke.Config{URL: server.URL + "/", Token: "t0ken", Pause: time.Millisecond, Said: &out})
	return out.String(), err
}

func TestAHealthySuitePasses(t *testing.T) {
	t.Parallel()
	s := &suite{overrides: map[string]http.HandlerFunc{
		// What a suite that has just started answers before it answers well.
		"GET /items":             first("GET /items", answer(503, "not yet")),
		"GET /items/*":           first("GET /items/*", answer(404, "not heard of"), answer(200, `{"available":0}`)),
		"POST /orders":           first("POST /orders", answer(422, "unknown-item")),
		"GET /orders/*":          first("GET /orders/*", answer(200, `{"status":"created"}`)),
		"GET /orders/*/shipment": first("GET /orders/*/shipment", answer(404, "no parcel")),
	}}
	said, err := s.run(t, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(said, "ok: "); n != 8 {
		t.Errorf("%d steps were done:\n%s", n, said)
	}
	if n := len(s.asked); n < 2 || s.asked[n-2] != "POST /orders/*/refund" || s.asked[n-1] != "DELETE /items/*" {
		t.Errorf("it left with %q", s.asked)
	}
}

func TestWhatGoesWrongIsNamedAndTakenBack(t *testing.T) {
	t.Parallel()
	stuck := first("", slices.Repeat([]http.HandlerFunc{answer(200, `{"status":"created"}`)}, 1_000_000)...)
	var orders int
	for name, c := range map[string]struct {
		route  string
		broken http.HandlerFunc
		says   []string
		undone bool // the order was cancelled
	}{
		"NoRight":         {"PUT /items/*", answer(403, "forbidden"), []string{"an item is listed", "403 forbidden", "look at"}, false},
		"NeverForSale":    {"GET /items/*", answer(200, `{"available":0}`), []string{"the item is for sale", "time is up", "0 units", "lag"}, false},
		"NeverPaid":       {"GET /orders/*", stuck, []string{"inventory has booked it", "time is up", "is created"}, true},
		"NoParcel":        {"GET /orders/*/shipment", answer(503, "dependency-unavailable"), []string{"logistics has made the parcel", "503"}, true},
		"CannotBeRetired": {"DELETE /items/*", answer(403, "forbidden"), []string{"retire smoke-", "by hand"}, false},
		"TwoOrdersOfOneKey": {"POST /orders", func(w http.ResponseWriter, r *http.Request) {
			orders++
			answer(201, fmt.Sprintf(`{"id":"o-%d"}`, orders))(w, r)
		}, []string{"the same order again", "two orders, o-1 and o-2"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &suite{overrides: map[string]http.HandlerFunc{c.route: c.broken}}
			_, err := s.run(t, 2*time.Second)
			if err == nil {
				t.Fatal("it passes")
			}
			for _, words := range c.says {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("it says %q, want %q in it", err, words)
				}
			}
			if got := slices.Contains(s.asked, "POST /orders/*/cancel"); got != c.undone {
				t.Errorf("the order was cancelled: %v, want %v (%q)", got, c.undone, s.asked)
			}
			if listed := s.asked[1] == "PUT /items/*" && c.route != "PUT /items/*"; listed != slices.Contains(s.asked, "DELETE /items/*") {
				t.Errorf("it left an item behind: %q", s.asked)
			}
		})
	}
}
