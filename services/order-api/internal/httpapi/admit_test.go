package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/accept"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/admission"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/shield"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/store"
)

// placing is an order book that answers as the test says.
type placing func(ctx context.Context, d order.Draft) (order.Verdict, error)

func (p placing) Place(ctx context.Context, d order.Draft) (order.Verdict, error) { return p(ctx, d) }

const oneTea = `{"skuId":"tea","quantity":1}`

// While a sale overflows, what does not fit is told so before anything is asked of it, and everybody else is served.
func TestASaleThatOverflowsKeepsNobodyElseOut(t *testing.T) {
	t.Parallel()
	const places = 3
	arrived, release := make(chan struct{}, places), make(chan struct{})
	var counted atomic.Int64
	w := setup(t, func(c *Config) {
		c.Lanes = lanes(t, admission.Config{Orders: places, Moves: 8, Reads: 8, Operators: 8, Streams: 8})
		c.Overloaded = func(context.Context) { counted.Add(1) }
		books := c.Orders
		c.Orders = placing(func(ctx context.Context, d order.Draft) (order.Verdict, error) {
			if d.Reference == "waits" {
				arrived <- struct{}{}
				<-release
			}
			return books.Place(ctx, d)
		})
	})
	customer, desk := token(t, "u-1"), token(t, "desk", "operator")
	mine, other := w.place(customer), w.place(customer)
	var crowd sync.WaitGroup
	for range places {
		crowd.Go(func() {
			if a := w.do("POST", "/api/v1/orders", customer, `{"skuId":"tea","quantity":1,"reference":"waits"}`); a.Status != 201 {
				t.Errorf("who had a place was answered %d %s", a.Status, a.Body)
			}
		})
	}
	for range places {
		<-arrived
	}
	for _, c := range []struct{ token, body string }{{customer, oneTea}, {"", oneTea}, {"nonsense", "{"}} {
		a := w.do("POST", "/api/v1/orders", c.token, c.body, "X-Request-Id", "mine")
		if p := a.problem(t); a.Status != 503 || p.Code != overloaded || p.Instance != ordersPath || a.Header.Get("Retry-After") != "1" || a.Header.Get("X-Request-Id") != "mine" {
			t.Errorf("one too many was answered %d %v %s", a.Status, a.Header, a.Body)
		}
	}
	if counted.Load() != 3 {
		t.Errorf("%d of 3 were counted", counted.Load())
	}
	for _, c := range []struct {
		method, path, token, body string
		status                    int
	}{
		{"POST", "/orders/" + mine.ID + "/pay", desk, `{"paymentRef":"p-1"}`, 200},
		{"POST", "/orders/" + other.ID + "/cancel", customer, `{"reason":"changed my mind"}`, 200},
		{"GET", "/orders/" + mine.ID, customer, "", 200},
		{"GET", "/items/tea", customer, "", 200},
		{"POST", "/items/tea/stock", desk, `{"units":5}`, 202},
	} {
		if a := w.do(c.method, "/api/v1"+c.path, c.token, c.body); a.Status != c.status {
			t.Errorf("%s %s while a sale overflows: %d %s", c.method, c.path, a.Status, a.Body)
		}
	}
	close(release)
	crowd.Wait()
	w.place(customer)
}

// Each kind of request has its lane, and a full one says so in its own words.
func TestLanes(t *testing.T) {
	t.Parallel()
	all := lanes(t, admission.Config{Orders: 1, Moves: 1, Reads: 1, Operators: 1, Streams: 1})
	w := setup(t, func(c *Config) { c.Lanes = all })
	id := parcel
	for _, c := range []struct {
		lane         *admission.Lane
		method, path string
	}{
		{all.Orders, "POST", "/orders"},
		{all.Moves, "POST", "/orders/" + id + "/pay"},
		{all.Moves, "POST", "/orders/" + id + "/cancel"},
		{all.Moves, "POST", "/orders/" + id + "/refund"},
		{all.Moves, "DELETE", "/orders/" + id},
		{all.Reads, "GET", "/orders"},
		{all.Reads, "GET", "/orders/" + id},
		{all.Reads, "GET", "/orders/" + id + "/timeline"},
		{all.Reads, "GET", "/items/tea"},
		{all.Reads, "GET", "/me/points"},
		{all.Streams, "GET", "/orders/" + id + "/events"},
		{all.Operators, "PUT", "/items/tea"},
		{all.Operators, "DELETE", "/items/tea"},
		{all.Operators, "POST", "/items/tea/stock"},
		{all.Operators, "POST", "/shipments/" + id + "/events"},
	} {
		if !c.lane.Enter() {
			t.Fatalf("before %s %s somebody stayed inside", c.method, c.path)
		}
		a := w.do(c.method, "/api/v1"+c.path, token(t, "u-1"), "")
		if p := a.problem(t); a.Status != 503 || p.Code != overloaded || p.Instance != "/api/v1"+c.path || a.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s %s found a full lane: %d %s", c.method, c.path, a.Status, a.Body)
		}
		c.lane.Leave()
	}
	if a := w.do("GET", "/openapi.yaml", "", ""); a.Status != 200 {
		t.Errorf("the text: %d", a.Status)
	}
}

// Who sends slowly holds no place.
func TestASlowSenderHoldsNoPlace(t *testing.T) {
	t.Parallel()
	w := setup(t, func(c *Config) {
		c.Lanes = lanes(t, admission.Config{Orders: 1, Moves: 1, Reads: 1, Operators: 1, Streams: 1})
	})
	customer := token(t, "u-1")
	var d net.Dialer
	for range 5 {
		slow, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(w.base, "http://"))
		must(t, err)
		defer func() { must(t, slow.Close()) }()
		_, err = fmt.Fprintf(slow, "POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 28\r\n\r\n{", customer)
		must(t, err)
	}
	deadline := time.Now().Add(300 * time.Millisecond) // time for the slow ones to arrive
	for time.Now().Before(deadline) {
		w.place(customer)
	}
}

// What a rule keeps out is told when to come back. Strangers use up nobody's share.
func TestFlowRules(t *testing.T) {
	t.Parallel()
	w := setup(t, func(c *Config) {
		c.Shield = guarded(t, `flow: [{resource: order/list, per_second: 0}, {resource: grpc/points, per_second: 0}, {sku: tea, per_second: 0}]`)
	})
	w.sell("mug", 100, 10)
	customer := token(t, "u-1")
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/orders", ""},
		{"GET", "/me/points", ""},
		{"POST", "/orders", oneTea},
		{"POST", "/orders", `{"items":[{"skuId":"mug","quantity":1},{"skuId":"tea","quantity":1}]}`},
	} {
		a := w.do(c.method, "/api/v1"+c.path, customer, c.body)
		if a.Status != 429 || a.problem(t).Code != rateLimited || a.Header.Get("Retry-After") != "1" {
			t.Errorf("%s %s: %d %v %s", c.method, c.path, a.Status, a.Header, a.Body)
		}
	}
	if a := w.do("POST", "/api/v1/orders", customer, `{"skuId":"mug","quantity":1}`); a.Status != 201 {
		t.Errorf("another sku: %d %s", a.Status, a.Body)
	}
	if a := w.do("GET", "/api/v1/orders", "", ""); a.Status != 401 {
		t.Errorf("a stranger: %d %s", a.Status, a.Body)
	}
}

// The breakers of orders count what this service failed, not what it refused and not what found no lane.
func TestTheBreakersOfOrders(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err   error
		opens bool
	}{
		"AnOutage": {fmt.Errorf("%w: gone", accept.ErrUnavailable), true},
		"ABug":     {errors.New("a bug"), true},
		"ARefusal": {order.Short(map[string]int64{"tea": 0}), false},
		"NoRoom":   {accept.ErrOverloaded, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			w := setup(t, func(cfg *Config) {
				cfg.Shield = guarded(t, "breakers: [{resource: order/create, kind: errors, share: 0.5, at_least: 20, within: 10s, open: 60s}]")
				cfg.Orders = placing(func(context.Context, order.Draft) (order.Verdict, error) {
					calls.Add(1)
					return order.Verdict{Order: order.Order{ID: parcel}}, c.err
				})
			})
			customer := token(t, "u-1")
			var last answer
			for range 40 {
				last = w.do("POST", "/api/v1/orders", customer, oneTea)
			}
			if opened := calls.Load() < 40; opened != c.opens {
				t.Fatalf("%d of 40 were asked for; the last was answered %d %s", calls.Load(), last.Status, last.Body)
			}
			if !c.opens {
				return
			}
			wait, err := strconv.Atoi(last.Header.Get("Retry-After"))
			if last.Status != 503 || last.problem(t).Code != dependencyAway || err != nil || wait < 40 || wait > 60 {
				t.Errorf("an open breaker answers %d, Retry-After %q, %s", last.Status, last.Header.Get("Retry-After"), last.Body)
			}
		})
	}
}

// Every route has a name that rules can use, and every name a route.
func TestEveryRouteCanBeNamedInARule(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for r := range doorNames {
		if w.server.doors[r] == nil {
			t.Errorf("%v has no door", r)
		}
	}
	var text described
	must(t, yaml.Unmarshal(openapi, &text))
	for path, methods := range text.Paths {
		for method := range methods {
			r := route{strings.ToUpper(method), patternOf(path)}
			if _, named := doorNames[r]; !named && method != "parameters" && path != "/openapi.yaml" {
				t.Errorf("%v has no name", r)
			}
		}
	}
	names := slices.Sorted(maps.Values(doorNames))
	names = append(names, shield.Inventory, shield.Points, shield.Logistics, shield.Redis)
	if want := slices.Sorted(slices.Values(shield.Names)); !slices.Equal(slices.Sorted(slices.Values(names)), want) {
		t.Errorf("rules may name %v, there are %v", want, names)
	}
}

// patternOf is a path of openapi.yaml as the router writes it.
func patternOf(path string) string { return strings.NewReplacer("{", ":", "}", "").Replace(path) }

// nobody is a book that is not asked.
type nobody struct{ books }

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// BenchmarkTurnAway is what one order costs that finds no lane, but for the reading of its request line.
func BenchmarkTurnAway(b *testing.B) {
	cfg := Config{
		Lanes: lanes(b, admission.Config{Orders: 1, Moves: 1, Reads: 1, Operators: 1, Streams: 1}), Shield: guarded(b, ""),
		Books: nobody{&store.Store{}}, Overloaded: func(context.Context) {}, Log: slog.New(slog.DiscardHandler),
	}
	s, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	cfg.Lanes.Orders.Enter()
	r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, ordersPath, http.NoBody)
	r.Header.Set("X-Request-Id", "one")
	body := strings.NewReader(oneTea)
	r.ContentLength = int64(body.Len())
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(oneTea)
		r.Body = readCloser{body}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != http.StatusServiceUnavailable {
			b.Fatal(w.Code)
		}
	}
}
