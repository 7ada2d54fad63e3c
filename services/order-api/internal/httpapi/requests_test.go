package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/accept"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// TestBadRequests says for each mistake what the caller is told.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.sell("dollar", 100, 5)
	w.apply(order.Fact{Kind: order.ItemListed, Item: order.CatalogueItem{SkuID: "old", Name: "Old", Version: 1, Currency: "EUR"}},
		order.Fact{Kind: order.ItemRetired, Item: order.CatalogueItem{SkuID: "old", Version: 2, Retired: true}})
	customer := token(t, "u-1")
	lines := strings.Repeat(`{"skuId":"tea","quantity":1},`, 51)
	for _, c := range []struct { //nolint:paralleltest // they share one order book
		name, method, path, body string
		status                   int
		code, field              string
	}{
		{"no JSON", "POST", "/orders", `{"skuId":`, 400, "malformed-request", ""},
		{"two objects", "POST", "/orders", `{"skuId":"tea","quantity":1}{}`, 400, "malformed-request", ""},
		{"a list", "POST", "/orders", `[]`, 422, "invalid-request", ""},
		{"an unknown field", "POST", "/orders", `{"skuId":"tea","quantity":1,"price":1}`, 422, "invalid-request", "price"},
		{"a wrong type", "POST", "/orders", `{"skuId":"tea","quantity":"two"}`, 422, "invalid-request", "quantity"},
		{"a fraction", "POST", "/orders", `{"skuId":"tea","quantity":1.5}`, 422, "invalid-request", "quantity"},
		{"none", "POST", "/orders", `{"skuId":"tea","quantity":0}`, 422, "invalid-request", "quantity"},
		{"less than none", "POST", "/orders", `{"skuId":"tea","quantity":-1}`, 422, "invalid-request", "quantity"},
		{"too many", "POST", "/orders", `{"skuId":"tea","quantity":1001}`, 422, "invalid-request", "quantity"},
		{"beyond numbers", "POST", "/orders", `{"skuId":"tea","quantity":99999999999999999999}`, 422, "invalid-request", "quantity"},
		{"nothing", "POST", "/orders", `{}`, 422, "invalid-request", "items"},
		{"both forms", "POST", "/orders", `{"skuId":"tea","quantity":1,"items":[]}`, 422, "invalid-request", "items"},
		{"no item", "POST", "/orders", `{"quantity":1}`, 422, "invalid-request", "skuId"},
		{"51 lines", "POST", "/orders", `{"items":[` + strings.TrimSuffix(lines, ",") + `]}`, 422, "invalid-request", "items"},
		{"a line's quantity", "POST", "/orders", `{"items":[{"skuId":"tea","quantity":1},{"skuId":"tea","quantity":0}]}`, 422, "invalid-request", "items[1].quantity"},
		{"a long reference", "POST", "/orders", `{"skuId":"tea","quantity":1,"reference":"` + strings.Repeat("r", 101) + `"}`, 422, "invalid-request", "reference"},
		{"much metadata", "POST", "/orders", `{"skuId":"tea","quantity":1,"metadata":{"k":"` + strings.Repeat("v", 1024) + `"}}`, 422, "invalid-request", "metadata"},
		{"metadata of numbers", "POST", "/orders", `{"skuId":"tea","quantity":1,"metadata":{"k":1}}`, 422, "invalid-request", "metadata"},
		{"a NUL", "POST", "/orders", `{"skuId":"tea","quantity":1,"reference":"a\u0000b"}`, 422, "invalid-request", "reference"},
		{"an unknown payment", "POST", "/orders", `{"skuId":"tea","quantity":1,"payment":"barter"}`, 422, "invalid-request", "payment"},
		{"an unknown item", "POST", "/orders", `{"skuId":"unicorn","quantity":1}`, 422, "unknown-item", ""},
		{"a retired item", "POST", "/orders", `{"skuId":"old","quantity":1}`, 422, "unknown-item", ""},
		{"a look at a retired item", "GET", "/items/old", "", 404, "not-found", ""},
		{"more than there is", "POST", "/orders", `{"skuId":"dollar","quantity":6}`, 409, "sold-out", ""},
		{"64 KiB", "POST", "/orders", `{"reference":"` + strings.Repeat("r", 64<<10) + `"}`, 413, "too-large", ""},
		{"64 KiB behind the object", "POST", "/orders", `{"skuId":"tea","quantity":1}` + strings.Repeat(" ", 64<<10), 413, "too-large", ""},
		{"limit 0", "GET", "/orders?limit=0", "", 422, "invalid-request", "limit"},
		{"limit 101", "GET", "/items?limit=101", "", 422, "invalid-request", "limit"},
		{"limit of words", "GET", "/items?limit=ten", "", 422, "invalid-request", "limit"},
		{"a made-up cursor", "GET", "/orders?cursor=abc", "", 400, "malformed-request", ""},
		{"a made-up cursor of items", "GET", "/items?cursor=%21", "", 400, "malformed-request", ""},
		{"no state", "GET", "/orders?status=lost", "", 422, "invalid-request", "status"},
		{"no such address", "GET", "/nothing", "", 404, "not-found", ""},
		{"no such method", "PUT", "/orders", "{}", 405, "method-not-allowed", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{T: t, base: w.base}
			a := w.do(c.method, "/api/v1"+c.path, customer, c.body)
			p := a.problem(t)
			fields := []string{}
			for _, f := range p.Errors {
				fields = append(fields, f.Field)
			}
			if a.Status != c.status || string(p.Code) != c.code || c.field != "" && fmt.Sprint(fields) != fmt.Sprint([]string{c.field}) {
				t.Errorf("answered %d %s, want %d %s of [%s]", a.Status, a.Body, c.status, c.code, c.field)
			}
		})
	}
	if page := w.do("GET", "/api/v1/orders", customer, ""); !strings.Contains(page.Body, `"orders":[]`) {
		t.Errorf("a mistake made an order: %s", page.Body)
	}
}

func TestMediaTypeAndAllowHeader(t *testing.T) {
	t.Parallel()
	w := setup(t)
	customer := token(t, "u-1")
	a := w.do("POST", "/api/v1/orders", customer, `{"skuId":"tea","quantity":1}`, "Content-Type", "text/plain")
	if a.Status != 415 || a.problem(t).Code != unsupportedMedia {
		t.Errorf("text/plain: %d %s", a.Status, a.Body)
	}
	if a := w.do("POST", "/api/v1/orders", customer, `{"skuId":"tea","quantity":1}`, "Content-Type", "application/json; charset=utf-8"); a.Status != 201 {
		t.Errorf("with a charset: %d %s", a.Status, a.Body)
	}
	if a := w.do("PATCH", "/api/v1/orders", customer, `{}`); a.Header.Get("Allow") == "" {
		t.Errorf("405 does not say what is allowed: %v", a.Header)
	}
}

func TestPagesEndAndTellEachOrderOnce(t *testing.T) {
	t.Parallel()
	w := setup(t)
	customer := token(t, "u-1")
	var want []string
	for range 7 {
		want = append([]string{w.place(customer).ID}, want...) // newest first
	}
	var got []string
	for path := "/api/v1/orders?limit=3"; path != ""; {
		var page struct {
			Orders []orderView
			Next   string
		}
		decoded(t, w.do("GET", path, customer, ""), &page)
		for _, o := range page.Orders {
			got = append(got, o.ID)
		}
		path = ""
		if page.Next != "" {
			path = "/api/v1/orders?limit=3&cursor=" + page.Next
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("pages told %v, want %v", got, want)
	}
}

// The whole surface of keys: bare and quoted are the same key, a repeat gets the same bytes, another body is refused.
func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	w := setup(t)
	customer := token(t, "u-1")
	order := func(body, key string) answer {
		return w.do("POST", "/api/v1/orders", customer, body, "Idempotency-Key", key)
	}
	first := order(`{"skuId":"tea","quantity":2}`, `k-1`)
	if first.Status != 201 || first.Header.Get("Idempotent-Replayed") != "" || first.Header.Get("Location") != "/api/v1/orders/"+first.order(t).ID {
		t.Fatalf("first: %d %v %s", first.Status, first.Header, first.Body)
	}
	for _, again := range []answer{
		order(`{"skuId":"tea","quantity":2}`, `k-1`),
		order(`{"skuId":"tea","quantity":2}`, `"k-1"`),
		order(`{ "items": [ {"quantity":1,"skuId":"tea"}, {"skuId":"tea","quantity":1} ] }`, `k-1`),
	} {
		if again.Status != 201 || again.Body != first.Body || again.Header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("again: %d %v %s, want the same order", again.Status, again.Header, again.Body)
		}
	}
	if other := order(`{"skuId":"tea","quantity":3}`, `k-1`); other.Status != 422 || other.problem(t).Code != "idempotency-key-reused" {
		t.Errorf("another body: %d %s", other.Status, other.Body)
	}
	if a := w.do("POST", "/api/v1/orders", token(t, "u-2"), `{"skuId":"tea","quantity":3}`, "Idempotency-Key", "k-1"); a.Status != 201 {
		t.Errorf("another user's k-1: %d %s", a.Status, a.Body)
	}
	for _, bad := range []string{`two words`, `"open`, `"`, `""`, strings.Repeat("k", 256), `"a"b`} {
		if a := order(`{"skuId":"tea","quantity":2}`, bad); a.Status != 422 || a.problem(t).Errors[0].Field != "Idempotency-Key" {
			t.Errorf("key %q: %d %s", bad, a.Status, a.Body)
		}
	}
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for sent, taken := range map[string]bool{"mine-1": true, "": false, "two words": false, strings.Repeat("x", 129): false} {
		got := w.do("GET", "/api/v1/items", token(t, "u-1"), "", "X-Request-Id", sent).Header.Get("X-Request-Id")
		if got == "" || (got == sent) != taken {
			t.Errorf("sent %q, returned %q", sent, got)
		}
	}
}

type placeFunc func(context.Context, order.Draft) (order.Verdict, error)

func (f placeFunc) Place(ctx context.Context, d order.Draft) (order.Verdict, error) { return f(ctx, d) }

// What is our own fault is told in no other words than these, and costs one request.
func TestOurOwnFaults(t *testing.T) {
	t.Parallel()
	var fault func() error
	w := setup(t, func(c *Config) {
		c.Orders = placeFunc(func(context.Context, order.Draft) (order.Verdict, error) { return order.Verdict{}, fault() })
	})
	secret := "password=hunter2"
	for name, c := range map[string]struct {
		fault  func() error
		status int
		code   order.Code
	}{
		"a full queue":      {func() error { return accept.ErrOverloaded }, 503, overloaded},
		"an absent book":    {func() error { return fmt.Errorf("%w: %s", accept.ErrUnavailable, secret) }, 503, dependencyAway},
		"a slow book":       {func() error { return fmt.Errorf("%s: %w", secret, context.DeadlineExceeded) }, 503, dependencyAway},
		"an unknown error":  {func() error { return errors.New(secret) }, 500, internal},
		"a panic":           {func() error { panic(secret) }, 500, internal},
		"a refusal of ours": {func() error { return order.Short(map[string]int64{"tea": 3}) }, 409, order.SoldOut},
	} {
		fault = c.fault
		a := w.do("POST", "/api/v1/orders", token(t, "u-1"), `{"skuId":"tea","quantity":1}`)
		p := a.problem(t)
		if a.Status != c.status || p.Code != c.code || strings.Contains(a.Body, "hunter2") {
			t.Errorf("%s: %d %s, want %d %s and no secret", name, a.Status, a.Body, c.status, c.code)
		}
		if again := a.Header.Get("Retry-After"); (again != "") != (a.Status == http.StatusServiceUnavailable) {
			t.Errorf("%s: Retry-After is %q", name, again)
		}
		if (p.TraceID != "") != (p.Code == internal) {
			t.Errorf("%s: the trace id is %q", name, p.TraceID)
		}
		if p.Code == order.SoldOut && p.Left["tea"] != 3 {
			t.Errorf("%s: left is %v", name, p.Left)
		}
	}
	w.close()
	if !strings.Contains(w.log.String(), "hunter2") {
		t.Error("the log does not tell what happened")
	}
}

// Who hangs up is no fault of the door's: it is counted apart and alarms nobody.
func TestWhoHangsUpIsNoFaultOfOurs(t *testing.T) {
	t.Parallel()
	ctx, hangUp := context.WithCancel(t.Context())
	w := setup(t, func(c *Config) {
		c.Orders = placeFunc(func(ctx context.Context, _ order.Draft) (order.Verdict, error) {
			hangUp()
			return order.Verdict{}, ctx.Err()
		})
	})
	ask := httptest.NewRequestWithContext(ctx, http.MethodPost, "/api/v1/orders", strings.NewReader(`{"skuId":"tea","quantity":1}`))
	ask.Header.Set("Authorization", "Bearer "+token(t, "u-1"))
	ask.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	w.server.ServeHTTP(answer, ask)
	w.close()
	if answer.Code != statusLeft || strings.Contains(w.log.String(), "level=ERROR") {
		t.Errorf("counted as %d and logged as %s", answer.Code, w.log)
	}
}

func FuzzParseKey(f *testing.F) {
	for _, seed := range []string{`a`, `"a"`, `"a\"b"`, `"a\\"`, `"`, `""`, ` a `, `"a" `, "a\x00", `a"b`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		key, err := parseKey([]string{header})
		if err != nil {
			return
		}
		if len(key) < 1 || len(key) > maxKey || strings.ContainsFunc(key, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
			t.Errorf("%q is taken as the key %q", header, key)
		}
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		if again, err := parseKey([]string{quoted}); err != nil || again != key {
			t.Errorf("%q quoted is %q, %v", key, again, err)
		}
	})
}

func FuzzDecodeOrder(f *testing.F) {
	for _, seed := range []string{
		`{"skuId":"tea","quantity":1}`, `{"items":[{"skuId":"a","quantity":2}],"metadata":{"k":"v"}}`, `[]`, `{}`, `null`, `{"items":null}`, `{"quantity":1e3}`, `{"a":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var in placeRequest
		err := decode(strings.NewReader(string(body)), &in)
		if err != nil {
			if code := refusalOf(err).Code; code != order.Malformed && code != order.InvalidRequest {
				t.Errorf("%q is refused as %s", body, code)
			}
			return
		}
		lines, err := in.lines()
		if err != nil {
			return
		}
		draft := order.Draft{UserID: "u", Lines: lines, Payment: order.Deferred, Reference: in.Reference, Metadata: in.Metadata}
		if in.check(draft) == nil && draft.Print() == "" {
			t.Errorf("%q has no fingerprint", body)
		}
	})
}
