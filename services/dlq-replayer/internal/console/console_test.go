package console

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/httpapi"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/letter"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/replay"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/store"
)

const (
	evil = `<script>alert("x")</script>`
	key  = "a key for tests that is long enough"
)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

type site struct {
	testing.TB
	http.Handler
	store.Store
}

// openOn is a console on a database without letters.
func openOn(tb testing.TB, db *database.DB) site {
	tb.Helper()
	v, err := auth.New(tb.Context(), auth.Config{Key: config.Secret(key)})
	must(tb, err)
	must(tb, database.Migrate(tb.Context(), db, outbox.Migrations, store.Migrations))
	log := slog.New(slog.DiscardHandler)
	s := store.Store{DB: db}
	api := httpapi.New(httpapi.Config{Letters: s, Groups: []string{"points"}, Verifier: v, Log: log})
	return site{tb, New(Config{API: api, Verifier: v, Log: log}), s}
}

// open is a console with two letters, l and raw, every text of which is a script.
func open(t *testing.T) site {
	t.Helper()
	s := openOn(t, servertest.SQLite(t))
	value, err := proto.Marshal(&orderv1.OrderCreated{Order: &orderv1.Order{Id: evil, PaymentRef: "secret"}})
	must(t, err)
	l := letter.Letter{
		ID: "l", Group: "points", EventID: evil, Type: "floodgate.order.v1.OrderCreated", Topic: evil, Key: []byte(evil), Value: value,
		Headers: []letter.Header{{Key: evil, Value: []byte(evil)}}, Cause: letter.Cause("points", evil, evil),
		Last: letter.Failure{Attempts: 1, FirstMS: 1, LastMS: time.Now().UnixMilli(), Kind: evil, Error: evil},
	}
	raw := l
	raw.ID, raw.Type, raw.Value, raw.Raw = "raw", evil, []byte(evil+"\x00\xff"), true
	must(t, s.DB.Tx(t.Context(), func(tx *database.Tx) error {
		_, err := store.CollectTx(t.Context(), tx, []letter.Letter{l, raw})
		return err
	}))
	return s
}

// ask is a browser's request with somebody's cookie; role "" has none.
func (s site) ask(method, path, role string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	s.Helper()
	r := httptest.NewRequestWithContext(s.Context(), method, path, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if role != "" {
		r.AddCookie(&http.Cookie{Name: cookie, Value: s.token(role)})
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func (s site) token(role string) string {
	s.Helper()
	token, err := auth.Issue(auth.Config{Key: config.Secret(key)}, "ann", []string{role}, time.Hour)
	must(s.TB, err)
	return token
}

func (s site) job(mode replay.Mode) replay.Job {
	s.Helper()
	j, err := s.CreateJob(s.Context(), replay.Job{Mode: mode, Reason: evil, By: evil, Rate: 1}, store.Selection{IDs: []string{"l"}}, []string{"points"})
	must(s.TB, err)
	return j
}

// Every page for everybody: a letter whose every text is a script shows as text, viewers get no button that changes
// anything, and who is not signed in is asked to.
func TestPages(t *testing.T) {
	t.Parallel()
	s := open(t)
	j := s.job(replay.Run)
	script := regexp.MustCompile(`(?i)<script>|alert\("x"\)`)
	for _, path := range []string{"/", "/?all=true", "/letters", "/letters?state=dead&group=points", "/letters/l", "/letters/raw", "/jobs", "/jobs/" + j.ID, "/jobs/new?cause=x", "/jobs/new?id=l", "/audit"} {
		if w := s.ask("GET", path, "", nil); w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), "/login?next=") {
			t.Errorf("%s without a cookie: %d to %q", path, w.Code, w.Header().Get("Location"))
		}
		if w := s.ask("GET", path, "shop", nil); w.Code != http.StatusForbidden {
			t.Errorf("%s as a shop: %d", path, w.Code)
		}
		for _, role := range []string{"viewer", "operator"} {
			w := s.ask("GET", path, role, nil)
			if w.Code != http.StatusOK {
				t.Errorf("%s as %s: %d\n%s", path, role, w.Code, w.Body)
			}
			if found := script.FindString(w.Body.String()); found != "" {
				t.Errorf("%s as %s shows %s", path, role, found)
			}
			csp := w.Header().Get("Content-Security-Policy")
			if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s as %s has the policy %q", path, role, csp)
			}
			if role == "viewer" && (strings.Contains(w.Body.String(), "secret") || strings.Contains(w.Body.String(), `action="/jobs/`) || strings.Contains(w.Body.String(), `action="/letters/l/`)) {
				t.Errorf("%s shows a viewer what is an operator's", path)
			}
		}
	}
	for path, want := range map[string]int{"/letters/none": 404, "/jobs/none": 404, "/nothing": 404, "/letters?grop=x": 422, "/assets/console.js": 200, "/assets/console.css": 200, "/openapi.yaml": 200} {
		if w := s.ask("GET", path, "operator", nil); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

func TestSigningInAndOut(t *testing.T) {
	t.Parallel()
	s := open(t)
	for token, next := range map[string]string{"nonsense": "/", s.token("shop"): "/"} {
		if w := s.ask("POST", "/login", "", url.Values{"token": {token}, "next": {next}}); w.Code != http.StatusUnauthorized || strings.Contains(w.Header().Get("Set-Cookie"), token) {
			t.Errorf("signed in with %q: %d", token, w.Code)
		}
	}
	for next, want := range map[string]string{"": "/", "/jobs?x=1": "/jobs?x=1", "//evil.example": "/", "https://evil.example": "/", `/\evil.example`: "/"} {
		w := s.ask("POST", "/login", "", url.Values{"token": {" " + s.token("viewer") + "\n"}, "next": {next}})
		set := w.Header().Values("Set-Cookie")
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != want {
			t.Errorf("signed in for %q: %d to %q", next, w.Code, w.Header().Get("Location"))
		}
		if last := set[len(set)-1]; !strings.Contains(last, "HttpOnly") || !strings.Contains(last, "SameSite=Strict") || strings.Contains(last, "Secure") {
			t.Errorf("cookie is %q", last)
		}
	}
	if w := s.ask("POST", "/login", "", url.Values{"token": {s.token("viewer")}}, "X-Forwarded-Proto", "https"); !strings.Contains(strings.Join(w.Header().Values("Set-Cookie"), " "), "Secure") {
		t.Error("behind TLS the cookie is not secure")
	}
	if w := s.ask("POST", "/logout", "viewer", url.Values{}); w.Code != http.StatusSeeOther || !strings.Contains(w.Header().Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("signed out: %d %q", w.Code, w.Header().Get("Set-Cookie"))
	}
}

// Another site cannot let a browser do anything here, even if the browser sent the cookie.
func TestOtherSitesCannotPost(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, headers := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "", "Origin", "https://evil.example"}} {
		if w := s.ask("POST", "/letters/l/discard", "operator", url.Values{"reason": {"x"}}, headers...); w.Code != http.StatusForbidden {
			t.Errorf("posted with %v: %d", headers, w.Code)
		}
	}
	if l, _, err := s.Letter(t.Context(), "l"); err != nil || l.State != letter.Dead {
		t.Errorf("the letter is %s: %v", l.State, err)
	}
}

func TestButtonsDoWhatTheySay(t *testing.T) {
	t.Parallel()
	s := open(t)
	press := func(want int, path, role string, form url.Values) string {
		t.Helper()
		w := s.ask("POST", path, role, form)
		if w.Code != want {
			t.Errorf("%s as %s: %d, want %d\n%s", path, role, w.Code, want, w.Body)
		}
		return w.Header().Get("Location")
	}
	why := url.Values{"reason": {"because"}}
	press(403, "/letters/l/discard", "viewer", why)
	press(422, "/letters/l/discard", "operator", url.Values{})
	press(303, "/letters/l/quarantine", "operator", why)
	press(303, "/letters/l/restore", "operator", why)
	press(403, "/letters/discard", "viewer", url.Values{"reason": {"because"}, "id": {"l", "raw"}})
	press(422, "/letters/discard", "operator", why)
	press(404, "/letters/explode", "operator", url.Values{"reason": {"because"}, "id": {"l"}})
	press(303, "/letters/quarantine", "operator", url.Values{"reason": {"because"}, "id": {"l", "raw"}})
	for _, id := range []string{"l", "raw"} {
		if l, _, err := s.Letter(t.Context(), id); err != nil || l.State != letter.Quarantined {
			t.Errorf("letter %s is %s: %v", id, l.State, err)
		}
	}
	back := s.ask("POST", "/letters/restore", "operator", url.Values{"reason": {"because"}, "id": {"l", "raw"}}, "Referer", "http://console/letters?state=quarantined&group=points")
	if got := back.Header().Get("Location"); back.Code != http.StatusSeeOther || got != "/letters?group=points&state=quarantined" {
		t.Errorf("restored: %d to %q", back.Code, got)
	}
	if w := s.ask("GET", "/jobs/new?chosen=only&reason=", "operator", nil); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("who chose nothing gets a job about everything: %d", w.Code)
	}
	if w := s.ask("GET", "/jobs/new?chosen=only&reason=&id=l&id=raw", "operator", nil); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "l raw") {
		t.Errorf("the form of two letters: %d %s", w.Code, w.Body)
	}
	press(422, "/letters/l/edit", "operator", url.Values{"reason": {"because"}, "value": {"{"}})
	press(303, "/letters/l/edit", "operator", url.Values{"reason": {"because"}, "value": {`{"order":{"id":"o-2"}}`}})
	press(303, "/letters/l/original", "operator", why)
	press(404, "/letters/l/explode", "operator", why)
	press(303, "/causes/"+letter.Cause("points", evil, evil), "operator", url.Values{"note": {"known"}, "muted": {"yes"}})
	job := press(303, "/jobs", "operator", url.Values{"mode": {"rehearse"}, "reason": {"because"}, "filter.group": {"points"}, "filter.kind": {""}})
	if !strings.Contains(s.ask("GET", job, "operator", nil).Body.String(), "Rehearsal") {
		t.Errorf("no rehearsal at %q", job)
	}
	press(422, "/jobs", "operator", url.Values{"mode": {"run"}, "reason": {"because"}, "id": {"l"}, "rate": {"fast"}})
	press(303, job+"/pause", "operator", nil)
	press(409, job+"/pause", "operator", nil)
	press(303, job+"/resume", "operator", nil)
	press(303, job+"/cancel", "operator", nil)
	if w := s.ask("GET", "/audit", "viewer", nil); !strings.Contains(w.Body.String(), "every one as it was written") || strings.Count(w.Body.String(), "<tr><td") != 11 {
		t.Errorf("the audit shows %s", w.Body)
	}
}
