package httpapi

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/floodgate-dev/floodgate/pkg/auth"
)

// TestEveryRouteForEveryCaller tries what everybody may do. {id} is an order of the owner's, made for each try.
func TestEveryRouteForEveryCaller(t *testing.T) {
	t.Parallel()
	w := setup(t)
	callers := []struct{ name, token string }{
		{"owner", token(t, "owner")},
		{"another", token(t, "another")},
		{"shop", token(t, "web-shop", "shop")},
		{"operator", token(t, "desk", "operator")},
	}
	const missing = "01a20ce4-063b-7c3e-9d2a-000000000000"
	type statuses [4]int // of the callers in their order
	all := func(s int) statuses { return statuses{s, s, s, s} }
	for _, route := range []struct { //nolint:paralleltest // SQLite has one writer, and every try is quick
		method, path, body string
		want               statuses
	}{
		{"POST", "/orders", `{"skuId":"tea","quantity":1}`, all(201)},
		{"POST", "/orders", `{"skuId":"tea","quantity":1,"payment":"deferred"}`, all(201)},
		{"POST", "/orders", `{"skuId":"tea","quantity":1,"payment":"captured"}`, statuses{403, 403, 201, 201}},
		{"POST", "/orders", `{"skuId":"tea","quantity":1,"userId":"owner"}`, statuses{201, 403, 201, 201}},
		{"GET", "/orders", "", all(200)},
		{"GET", "/orders?userId=owner", "", statuses{200, 403, 200, 200}},
		{"GET", "/orders/{id}", "", statuses{200, 404, 200, 200}},
		{"GET", "/orders/{id}/timeline", "", statuses{200, 404, 200, 200}},
		{"GET", "/orders/{id}/shipment", "", statuses{200, 404, 200, 200}},
		{"POST", "/orders/{id}/pay", `{"paymentRef":"p-1"}`, statuses{403, 404, 200, 200}},
		{"POST", "/orders/{id}/refund", `{"reason":"broken"}`, statuses{403, 404, 409, 409}}, // it is not paid
		{"POST", "/orders/{id}/cancel", `{"reason":"changed my mind"}`, statuses{200, 404, 200, 200}},
		{"POST", "/orders/{id}/cancel", "", statuses{200, 404, 200, 200}},
		{"DELETE", "/orders/{id}", "", statuses{409, 404, 403, 409}}, // it has not ended
		{"GET", "/me/points", "", all(200)},
		{"GET", "/users/owner/points", "", statuses{403, 403, 200, 200}},
		{"GET", "/items", "", all(200)},
		{"GET", "/items/tea", "", all(200)},
		{"GET", "/items/nothing", "", all(404)},
		{"PUT", "/items/mug", `{"name":"Mug","unitPriceCents":900,"currency":"EUR"}`, statuses{403, 403, 403, 202}},
		{"DELETE", "/items/mug", "", statuses{403, 403, 403, 202}},
		{"POST", "/items/tea/stock", `{"units":5,"reason":"new","requestId":"r-1"}`, statuses{403, 403, 403, 202}},
		{"POST", "/shipments/" + parcel + "/events", `{"status":"shipped"}`, statuses{403, 403, 403, 200}},
		{"GET", "/orders/" + missing, "", all(404)},
		{"GET", "/orders/" + missing + "/events", "", all(404)},
		{"GET", "/orders/no-uuid", "", all(404)},
		{"POST", "/orders/" + missing + "/cancel", `{"reason":"x"}`, all(404)},
	} {
		t.Run(route.method+" "+route.path, func(t *testing.T) {
			w := &world{T: t, base: w.base}
			for i, c := range callers {
				path := strings.Replace("/api/v1"+route.path, "{id}", w.place(callers[0].token).ID, 1)
				if a := w.do(route.method, path, c.token, route.body); a.Status != route.want[i] {
					t.Errorf("%s: answered %d %s, want %d", c.name, a.Status, a.Body, route.want[i])
				}
			}
			for name, bad := range badTokens(t) {
				a := w.do(route.method, "/api/v1"+strings.Replace(route.path, "{id}", missing, 1), bad, route.body)
				if a.Status != http.StatusUnauthorized || !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer ") {
					t.Errorf("%s: answered %d %v, want 401 with WWW-Authenticate", name, a.Status, a.Header)
				}
			}
		})
	}
}

// badTokens are tokens nobody believes, by what is wrong with them.
func badTokens(t *testing.T) map[string]string {
	t.Helper()
	sign := func(method jwt.SigningMethod, key any, c jwt.MapClaims) string {
		text, err := jwt.NewWithClaims(method, c).SignedString(key)
		must(t, err)
		return text
	}
	key := []byte(keyOf.Key.Reveal())
	hour := time.Now().Add(time.Hour).Unix()
	return map[string]string{
		"none":            "",
		"expired":         sign(jwt.SigningMethodHS256, key, jwt.MapClaims{"sub": "owner", "roles": []string{"operator"}, "exp": time.Now().Add(-time.Minute).Unix()}),
		"without end":     sign(jwt.SigningMethodHS256, key, jwt.MapClaims{"sub": "owner", "roles": []string{"operator"}}),
		"wrong algorithm": sign(jwt.SigningMethodHS512, key, jwt.MapClaims{"sub": "owner", "roles": []string{"operator"}, "exp": hour}),
		"no signature":    sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"sub": "owner", "exp": hour}),
		"another's key":   sign(jwt.SigningMethodHS256, []byte(strings.Repeat("x", 32)), jwt.MapClaims{"sub": "owner", "exp": hour}),
		"nobody's":        sign(jwt.SigningMethodHS256, key, jwt.MapClaims{"exp": hour}),
		"no token":        "nonsense",
	}
}

// A stranger who tries ids learns nothing: not from the status, the headers or a word of the body.
func TestAForeignAndAMissingOrderLookAlike(t *testing.T) {
	t.Parallel()
	w := setup(t)
	foreign := w.place(token(t, "owner")).ID
	stranger := token(t, "another")
	for _, route := range []struct{ method, path, body string }{
		{"GET", "", ""},
		{"GET", "/timeline", ""},
		{"GET", "/events", ""},
		{"GET", "/shipment", ""},
		{"POST", "/pay", `{"paymentRef":"p"}`},
		{"POST", "/cancel", `{"reason":"r"}`},
		{"POST", "/refund", `{"reason":"r"}`},
		{"POST", "/cancel", `no JSON`},
		{"DELETE", "", ""},
	} {
		answers := map[string]bool{}
		for _, id := range []string{foreign, uuid.NewString(), "no-uuid", strings.ToUpper(foreign)} {
			a := w.do(route.method, "/api/v1/orders/"+id+route.path, stranger, route.body, "X-Request-Id", "same")
			a.Header.Del("Date")
			a.Header.Del("Content-Length") // of the instance
			head := strings.Builder{}
			must(t, a.Header.Write(&head))
			answers[head.String()+strings.ReplaceAll(a.Body, id, "")] = true
			if a.Status != http.StatusNotFound {
				t.Errorf("%s %s of %s: %d", route.method, route.path, id, a.Status)
			}
		}
		if len(answers) != 1 {
			t.Errorf("%s %s can be told apart: %v", route.method, route.path, answers)
		}
	}
}

func TestTrustedCustomersPay(t *testing.T) {
	t.Parallel()
	w := setup(t, func(c *Config) { c.TrustCaptured = true })
	customer := token(t, "u-1")
	if got := w.place(customer).Payment; got != "captured" {
		t.Errorf("an order without a word of payment is %s, want captured", got)
	}
	a := w.do("POST", "/api/v1/orders", customer, `{"skuId":"tea","quantity":1,"payment":"deferred"}`)
	id := a.order(t).ID
	pay := func() answer { return w.do("POST", "/api/v1/orders/"+id+"/pay", customer, `{"paymentRef":"p-1"}`) }
	if first, again := pay(), pay(); first.Status != 200 || again.Status != 200 || first.Body != again.Body {
		t.Errorf("one payment twice: %d %s and %d %s, want the same answer", first.Status, first.Body, again.Status, again.Body)
	}
	if a := w.do("POST", "/api/v1/orders/"+id+"/pay", customer, `{"paymentRef":"p-2"}`); a.Status != 409 || a.problem(t).Code != "illegal-move" {
		t.Errorf("a second payment: %d %s, want 409 illegal-move", a.Status, a.Body)
	}
}

// A verifier that cannot fetch its keys says nothing about a token.
func TestKeysThatAreAwayAreNoRefusal(t *testing.T) {
	t.Parallel()
	w := setup(t, func(c *Config) { c.Verifier = keysAway{} })
	a := w.do("GET", "/api/v1/orders", "any", "")
	if a.Status != 503 || a.problem(t).Code != dependencyAway || a.Header.Get("Retry-After") == "" {
		t.Errorf("answered %d %v %s, want 503 with Retry-After", a.Status, a.Header, a.Body)
	}
}

type keysAway struct{}

func (keysAway) Verify(context.Context, string) (auth.Caller, error) {
	return auth.Caller{}, auth.ErrKeysAway
}
