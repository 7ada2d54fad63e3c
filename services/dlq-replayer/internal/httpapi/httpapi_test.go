package httpapi

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/config"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/letter"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/store"
)

var key = auth.Config{Key: config.Secret(strings.Repeat("k", 32))}

// shelf is a store that holds one letter.
type shelf struct {
	letter letter.Letter
	err    error
	asked  *store.Query
}

func (s shelf) Causes(context.Context, bool) ([]store.Cause, error) {
	return []store.Cause{{ID: "c", Message: "<script>alert(1)</script>"}}, s.err
}

func (s shelf) NoteCause(_ context.Context, id, _ string, _ bool) error {
	if id != "c" {
		return store.ErrNotFound
	}
	return s.err
}

func (s shelf) Letters(_ context.Context, q store.Query) ([]letter.Letter, string, error) {
	*s.asked = q
	return []letter.Letter{s.letter}, "more", s.err
}

func (s shelf) Letter(_ context.Context, id string) (letter.Letter, []letter.Failure, error) {
	if id != "l" {
		return letter.Letter{}, nil, store.ErrNotFound
	}
	return s.letter, []letter.Failure{{Error: "boom"}}, s.err
}

func door(t *testing.T, s shelf) http.Handler {
	t.Helper()
	v, err := auth.New(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if s.asked == nil {
		s.asked = &store.Query{}
	}
	return New(Config{Letters: s, Verifier: v, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
}

func do(t *testing.T, door http.Handler, method, path, body string, roles ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if roles != nil {
		token, err := auth.Issue(key, "ann", roles, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	door.ServeHTTP(w, r)
	return w
}

func TestEveryRouteForEveryRole(t *testing.T) {
	t.Parallel()
	d := door(t, shelf{})
	for _, c := range []struct {
		method, path, body               string
		none, customer, viewer, operator int
	}{
		{"GET", "/api/v1/causes", "", 401, 403, 200, 200},
		{"PATCH", "/api/v1/causes/c", `{"note":"known","muted":true}`, 401, 403, 403, 200},
		{"PATCH", "/api/v1/causes/none", `{"note":"known"}`, 401, 403, 403, 404},
		{"PATCH", "/api/v1/causes/c", `{"nte":"known"}`, 401, 403, 403, 422},
		{"GET", "/api/v1/letters", "", 401, 403, 200, 200},
		{"GET", "/api/v1/letters?group=points&limit=7&state=dead", "", 401, 403, 200, 200},
		{"GET", "/api/v1/letters?grop=points", "", 401, 403, 422, 422},
		{"GET", "/api/v1/letters?limit=501", "", 401, 403, 422, 422},
		{"GET", "/api/v1/letters?state=lost", "", 401, 403, 422, 422},
		{"GET", "/api/v1/letters/l", "", 401, 403, 200, 200},
		{"GET", "/api/v1/letters/none", "", 401, 403, 404, 404},
		{"GET", "/nothing", "", 404, 404, 404, 404},
	} {
		if got := do(t, d, c.method, c.path, c.body).Code; got != c.none {
			t.Errorf("%s %s without a token: %d, want %d", c.method, c.path, got, c.none)
		}
		for role, want := range map[string]int{"shop": c.customer, roleViewer: c.viewer, roleOperator: c.operator} {
			if w := do(t, d, c.method, c.path, c.body, role); w.Code != want {
				t.Errorf("%s %s as %s: %d %s, want %d", c.method, c.path, role, w.Code, w.Body, want)
			}
		}
	}
}

func TestFiltersArriveWhole(t *testing.T) {
	t.Parallel()
	asked := store.Query{}
	do(t, door(t, shelf{asked: &asked}), "GET", "/api/v1/letters?cause=c&group=g&topic=t&type=y&kind=k&state=applied&limit=3&cursor=x", "", roleViewer)
	if want := (store.Query{Cause: "c", Group: "g", Topic: "t", Type: "y", Kind: "k", State: letter.Applied, Limit: 3, Cursor: "x"}); asked != want {
		t.Errorf("asked %+v, want %+v", asked, want)
	}
}

func TestALetterIsShownWithAllThatIsKnown(t *testing.T) {
	t.Parallel()
	value, err := proto.Marshal(&orderv1.OrderCreated{Order: &orderv1.Order{Id: "o-1", PaymentRef: "secret-ref", Reference: "secret-too"}})
	if err != nil {
		t.Fatal(err)
	}
	l := letter.Letter{
		ID: "l", Type: "floodgate.order.v1.OrderCreated", Key: []byte("\x00\xff"), Value: value, State: letter.Dead,
		Headers: []letter.Header{{Key: "traceparent", Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}, {Key: "null"}},
	}
	var got struct {
		Key      struct{ Text, Hex string }
		Decoded  struct{ Order struct{ ID string } }
		TraceID  string
		Headers  []struct{ Value *struct{ Text string } }
		Failures []struct{ Error string }
	}
	w := do(t, door(t, shelf{letter: l}), "GET", "/api/v1/letters/l", "", roleOperator)
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Key.Hex != "00ff" || got.Key.Text != "" || got.Decoded.Order.ID != "o-1" || got.TraceID != "0af7651916cd43dd8448eb211c80319c" ||
		got.Headers[1].Value != nil || got.Failures[0].Error != "boom" {
		t.Errorf("shown as %s", w.Body)
	}
	if !strings.Contains(w.Body.String(), "secret-ref") {
		t.Errorf("an operator does not see everything: %s", w.Body)
	}
	masked := do(t, door(t, shelf{letter: l}), "GET", "/api/v1/letters/l", "", roleViewer).Body.String()
	if strings.Contains(masked, "secret") || strings.Contains(masked, hex.EncodeToString([]byte("secret"))) || !strings.Contains(masked, `"o-1"`) {
		t.Errorf("a viewer sees %s", masked)
	}
}

func TestOurOwnFaultsStayHere(t *testing.T) {
	t.Parallel()
	for want, err := range map[int]error{500: errors.New("password=hunter2"), 400: store.ErrCursor} {
		if w := do(t, door(t, shelf{err: err}), "GET", "/api/v1/letters", "", roleViewer); w.Code != want || strings.Contains(w.Body.String(), "hunter2") {
			t.Errorf("%v: answered %d %s", err, w.Code, w.Body)
		}
	}
}
