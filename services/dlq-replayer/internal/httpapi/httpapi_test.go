package httpapi

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/letter"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/replay"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/store"
)

var key = auth.Config{Key: config.Secret(strings.Repeat("k", 32))}

// shelf is a door before a store that holds letters.
type shelf struct {
	*testing.T
	http.Handler
	store.Store
}

func open(t *testing.T, letters ...letter.Letter) shelf {
	t.Helper()
	return openOn(t, servertest.SQLite(t), letters...)
}

// openOn is open on an empty database.
func openOn(t *testing.T, db *database.DB, letters ...letter.Letter) shelf {
	t.Helper()
	v, err := auth.New(t.Context(), key)
	must(t, err)
	must(t, database.Migrate(t.Context(), db, outbox.Migrations, store.Migrations))
	s := store.Store{DB: db}
	if len(letters) > 0 {
		must(t, db.Tx(t.Context(), func(tx *database.Tx) error {
			_, err := store.CollectTx(t.Context(), tx, letters)
			return err
		}))
	}
	return shelf{t, New(Config{Letters: s, Groups: []string{"points"}, Verifier: v, Log: slog.New(slog.DiscardHandler), Retention: 1000 * time.Hour, Warning: time.Hour}), s}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eachDatabase runs a test on Postgres and on SQLite.
func eachDatabase(t *testing.T, test func(t *testing.T, empty func() *database.DB)) {
	t.Helper()
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, func() *database.DB { return servertest.Postgres(t) })
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, func() *database.DB { return servertest.SQLite(t) })
	})
}

// sample is a letter of an order that somebody pays.
func sample(t *testing.T, id string) letter.Letter {
	t.Helper()
	value, err := proto.Marshal(&orderv1.OrderCreated{Order: &orderv1.Order{Id: "o-1", PaymentRef: "secret-ref", Reference: "secret-too"}})
	must(t, err)
	return letter.Letter{
		ID: id, Group: "points", EventID: id, Type: "floodgate.order.v1.OrderCreated", Topic: "order_created", Offset: 7,
		Key: []byte("\x00\xff"), Value: value, Cause: letter.Cause("points", "odd", "boom"),
		Headers: []letter.Header{{Key: "traceparent", Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}, {Key: "null"}},
		Last:    letter.Failure{Topic: "order_created", Offset: 7, Attempts: 3, FirstMS: 1000, LastMS: 2000, Kind: "odd", Error: "boom"},
	}
}

// do asks as somebody with role: "" sends no token, "expired" one that was good.
func do(t *testing.T, door http.Handler, method, path, body, role string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if role != "" {
		token, err := auth.Issue(key, "ann", []string{role}, time.Hour)
		if role == "expired" {
			token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
				"sub": "ann", "roles": []string{roleOperator}, "exp": time.Now().Add(-time.Minute).Unix(),
			}).SignedString([]byte(key.Key.Reveal()))
		}
		must(t, err)
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if strings.HasPrefix(path, "/api/v1/letters/import") {
		r.Header.Set("Content-Type", ndjson)
	}
	w := httptest.NewRecorder()
	door.ServeHTTP(w, r)
	answer := w.Result()
	answer.Body = io.NopCloser(bytes.NewReader(w.Body.Bytes()))
	r.Body = io.NopCloser(strings.NewReader(body))
	conforms(t, r, answer)
	return w
}

// Every route of the table is tried by everybody; what is not in the list below is a hole in this test.
func TestEveryRouteForEveryRole(t *testing.T) {
	t.Parallel()
	s := open(t, sample(t, "l"), sample(t, "other"))
	job, err := s.CreateJob(t.Context(), replay.Job{Mode: replay.Run, Reason: "r", By: "ann", Rate: 1}, store.Selection{IDs: []string{"other"}}, []string{"points"})
	must(t, err)
	cause := letter.Cause("points", "odd", "boom")
	tried := map[string]bool{}
	const who = `"selection":{"ids":["l"]},"reason":"because"`
	for _, c := range []struct {
		route, path, body string
		viewer, operator  int
	}{
		{"GET /api/v1/causes", "", "", 200, 200},
		{"PATCH /api/v1/causes/{id}", cause, `{"note":"known","muted":true}`, 403, 200},
		{"PATCH /api/v1/causes/{id}", "none", `{"note":"known"}`, 403, 404},
		{"PATCH /api/v1/causes/{id}", cause, `{"nte":"known"}`, 403, 422},
		{"GET /api/v1/letters", "", "", 200, 200},
		{"GET /api/v1/letters", "?group=points&limit=7&state=dead&key=k&text=x&after=2026-11-24T00:00:00Z&before=2026-11-25T00:00:00Z", "", 200, 200},
		{"GET /api/v1/letters", "?grop=points", "", 422, 422},
		{"GET /api/v1/letters", "?after=yesterday", "", 422, 422},
		{"GET /api/v1/letters", "?limit=501", "", 422, 422},
		{"GET /api/v1/letters", "?state=lost", "", 422, 422},
		{"GET /api/v1/letters", "?cursor=lost", "", 400, 400},
		{"GET /api/v1/letters/{id}", "l", "", 200, 200},
		{"GET /api/v1/letters/{id}", "none", "", 404, 404},
		{"GET /api/v1/letters/export", "?group=points", "", 403, 200},
		{"POST /api/v1/letters/import", "?reason=moved", "", 403, 200},
		{"POST /api/v1/letters/import", "?reason=moved", "{}\n", 403, 422},
		{"POST /api/v1/letters/patch", "", `{` + who + `,"patch":[{"op":"replace","path":"/order/userId","value":"u"}]}`, 403, 200},
		{"POST /api/v1/letters/patch", "", `{` + who + `,"patch":"none"}`, 403, 422},
		{"POST /api/v1/letters/{id}/edit", "l", `{"value":{"order":{"id":"o-2"}},"reason":"because"}`, 403, 200},
		{"POST /api/v1/letters/{id}/edit", "l", `{"value":{"order":{"id":"o-2"}}}`, 403, 422},
		{"POST /api/v1/letters/{id}/edit", "l", `{"value":{"oder":{}},"reason":"because"}`, 403, 422},
		{"POST /api/v1/letters/{id}/edit", "none", `{"value":{},"reason":"because"}`, 403, 404},
		{"POST /api/v1/letters/{id}/edit", "other", `{"value":{},"reason":"because"}`, 403, 409},
		{"POST /api/v1/letters/{id}/original", "l", `{"reason":"because"}`, 403, 200},
		{"POST /api/v1/letters/{id}/original", "other", `{"reason":"because"}`, 403, 404},
		{"POST /api/v1/letters/quarantine", "", `{` + who + `}`, 403, 200},
		{"POST /api/v1/letters/discard", "", `{` + who + `}`, 403, 200},
		{"POST /api/v1/letters/restore", "", `{` + who + `}`, 403, 200},
		{"POST /api/v1/letters/discard", "", `{"selection":{},"reason":"because"}`, 403, 422},
		{"POST /api/v1/letters/discard", "", `{"selection":{"ids":["l"]}}`, 403, 422},
		{"POST /api/v1/letters/discard", "", `{"selection":{"filter":{"grop":"x"}},"reason":"because"}`, 403, 422},
		{"GET /api/v1/jobs", "", "", 200, 200},
		{"GET /api/v1/jobs", "?state=lost", "", 422, 422},
		{"POST /api/v1/jobs", "", `{"mode":"rehearse",` + who + `}`, 403, 201},
		{"POST /api/v1/jobs", "", `{"mode":"rehearse","selection":{"ids":["none"]},"reason":"because"}`, 403, 422},
		{"POST /api/v1/jobs", "", `{"mode":"perform",` + who + `}`, 403, 422},
		{"GET /api/v1/jobs/{id}", job.ID, "", 200, 200},
		{"GET /api/v1/jobs/{id}", "none", "", 404, 404},
		{"GET /api/v1/jobs/{id}/letters", job.ID, "", 200, 200},
		{"GET /api/v1/jobs/{id}/letters", "none", "", 404, 404},
		{"GET /api/v1/jobs/{id}/events", "none", "", 404, 404},
		{"POST /api/v1/jobs/{id}/pause", job.ID, "", 403, 200},
		{"POST /api/v1/jobs/{id}/pause", job.ID, "", 403, 409},
		{"POST /api/v1/jobs/{id}/resume", job.ID, `{"reason":"because"}`, 403, 200},
		{"POST /api/v1/jobs/{id}/cancel", job.ID, "", 403, 200},
		{"POST /api/v1/jobs/{id}/cancel", "none", "", 403, 404},
		{"GET /api/v1/audit", "", "", 200, 200},
		{"GET /api/v1/audit", "?cursor=x", "", 400, 400},
		{"GET /api/v1/audit/verify", "", "", 200, 200},
	} {
		tried[c.route] = true
		method, path, _ := strings.Cut(c.route, " ")
		if strings.Contains(path, "{id}") {
			path = strings.Replace(path, "{id}", c.path, 1)
		} else {
			path += c.path
		}
		for _, as := range []struct {
			role string
			want int
		}{{"", 401}, {"expired", 401}, {"shop", 403}, {roleViewer, c.viewer}, {roleOperator, c.operator}} {
			if w := do(t, s, method, path, c.body, as.role); w.Code != as.want {
				t.Errorf("%s %s %s as %q: %d %s, want %d", method, path, c.body, as.role, w.Code, w.Body, as.want)
			}
		}
	}
	for _, route := range (server{}).routes() {
		if !tried[route.pattern] {
			t.Errorf("%s was not tried", route.pattern)
		}
	}
}

func TestALetterIsShownWithAllThatIsKnown(t *testing.T) {
	t.Parallel()
	s := open(t, sample(t, "l"))
	var got struct {
		Key      struct{ Text, Hex string }
		Decoded  struct{ Order struct{ ID string } }
		TraceID  string
		Headers  []struct{ Value *struct{ Text string } }
		Failures []struct{ Error string }
	}
	w := do(t, s, "GET", "/api/v1/letters/l", "", roleOperator)
	must(t, json.Unmarshal(w.Body.Bytes(), &got))
	if got.Key.Hex != "00ff" || got.Key.Text != "" || got.Decoded.Order.ID != "o-1" || got.TraceID != "0af7651916cd43dd8448eb211c80319c" ||
		got.Headers[1].Value != nil || got.Failures[0].Error != "boom" {
		t.Errorf("shown as %s", w.Body)
	}
	if !strings.Contains(w.Body.String(), "secret-ref") {
		t.Errorf("an operator does not see everything: %s", w.Body)
	}
	do(t, s, "POST", "/api/v1/letters/l/edit", `{"value":{"order":{"id":"o-1","paymentRef":"secret-new"}},"reason":"because"}`, roleOperator)
	masked := do(t, s, "GET", "/api/v1/letters/l", "", roleViewer).Body.String()
	if strings.Contains(masked, "secret") || strings.Contains(masked, hex.EncodeToString([]byte("secret"))) || !strings.Contains(masked, `"o-1"`) {
		t.Errorf("a viewer sees %s", masked)
	}
}

// What one replayer exports another imports: the same letters, bytes, headers and deaths; and twice is once.
func TestWhatIsExportedIsImportedWhole(t *testing.T) {
	t.Parallel()
	raw := letter.Letter{
		Group: "points", Raw: true, Topic: "order_created", Offset: 9, Value: []byte{0, 0xff, '<'}, Headers: []letter.Header{{Key: "a"}, {Key: "a", Value: []byte{}}},
		Last: letter.Failure{Topic: "order_created", Offset: 9, Attempts: 1, FirstMS: 5, LastMS: 5, Kind: "undecodable", Error: "<b>"},
	}
	raw.ID, raw.Cause = letter.Identify(raw), letter.Cause(raw.Group, raw.Last.Kind, raw.Last.Error)
	plain := sample(t, "")
	plain.EventID = "e-1"
	plain.ID = letter.Identify(plain)
	older := plain
	older.Last.LastMS, older.Last.Error = 1500, "older"
	from, to := open(t, older, plain, raw), open(t)
	lines := do(t, from, "GET", "/api/v1/letters/export", "", roleOperator).Body.String()
	for _, want := range []string{`{"letters":2,"newDeaths":3}`, `{"letters":2,"newDeaths":0}`} {
		if got := do(t, to, "POST", "/api/v1/letters/import?reason=moved", lines, roleOperator).Body.String(); strings.TrimSpace(got) != want {
			t.Errorf("imported %s, want %s", got, want)
		}
	}
	if again := do(t, to, "GET", "/api/v1/letters/export", "", roleOperator).Body.String(); len(again) != len(lines)+3*len(`,"via":"import"`) {
		t.Errorf("exported again:\n%s\nwant\n%s", again, lines)
	}
	for _, id := range []string{plain.ID, raw.ID} {
		want, wantFailures, err := from.Letter(t.Context(), id)
		must(t, err)
		got, failures, err := to.Letter(t.Context(), id)
		must(t, err)
		got.CollectedMS = want.CollectedMS
		for i := range failures {
			if failures[i].Via != letter.ViaImport {
				t.Errorf("a death came via %q", failures[i].Via)
			}
			failures[i].Via = ""
		}
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(failures, wantFailures) {
			t.Errorf("imported %+v\nwant %+v", got, want)
		}
	}
}

// What was mended of a letter goes with it: who did it and why, and the way back to the original. A letter that is here
// with another value keeps its own.
func TestMendingsAreExportedAndImported(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, empty func() *database.DB) {
		t.Helper()
		l := sample(t, "")
		l.EventID = "e-1"
		l.ID = letter.Identify(l)
		from, to, other := openOn(t, empty(), l), openOn(t, empty()), openOn(t, empty(), l)
		for _, user := range []string{"u-1", "u-2"} {
			do(t, from, "POST", "/api/v1/letters/"+l.ID+"/edit", `{"value":{"order":{"id":"o-1","userId":"`+user+`"}},"reason":"renamed"}`, roleOperator)
		}
		lines := do(t, from, "GET", "/api/v1/letters/export", "", roleOperator).Body.String()
		for range 2 {
			do(t, to, "POST", "/api/v1/letters/import?reason=moved", lines, roleOperator)
			do(t, other, "POST", "/api/v1/letters/import?reason=moved", lines, roleOperator)
		}
		want, err := from.Edits(t.Context(), l.ID)
		must(t, err)
		got, err := to.Edits(t.Context(), l.ID)
		must(t, err)
		if len(want) != 2 || !reflect.DeepEqual(got, want) {
			t.Errorf("imported mendings %+v, want %+v", got, want)
		}
		if w := do(t, to, "POST", "/api/v1/letters/"+l.ID+"/original", `{"reason":"back"}`, roleOperator); w.Code != http.StatusOK {
			t.Errorf("no way back: %s", w.Body)
		}
		back, _, err := to.Letter(t.Context(), l.ID)
		must(t, err)
		if !bytes.Equal(back.Value, l.Value) || back.Revision != 3 || back.Rehearsed != 0 {
			t.Errorf("the original is %+v", back)
		}
		kept, _, err := other.Letter(t.Context(), l.ID)
		must(t, err)
		if edits, err := other.Edits(t.Context(), l.ID); err != nil || len(edits) != 0 || !bytes.Equal(kept.Value, l.Value) || kept.Revision != 0 {
			t.Errorf("an import changed a letter that was here: %+v with %v, %v", kept, edits, err)
		}
	})
}

// A filter by what never met in a letter finds nothing, and one by what met finds it, also after a later death elsewhere.
func TestFiltersByWhatMet(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, empty func() *database.DB) {
		t.Helper()
		l := sample(t, "a")
		later := l
		later.Last.LastMS, later.Last.Topic, later.Last.Kind = 3000, "order-status-changes", "failed"
		other := sample(t, "b")
		other.Group = "inventory"
		s := openOn(t, empty(), l, other, later)
		for query, want := range map[string]int{
			"group=points&kind=failed": 1, "group=inventory&kind=odd&topic=order_created": 1, "group=inventory&kind=failed": 0,
			"group=points&topic=order_created": 0, "kind=odd": 1, "topic=order_created&type=none": 0,
		} {
			if got := strings.Count(do(t, s, "GET", "/api/v1/letters?"+query, "", roleViewer).Body.String(), `"eventId"`); got != want {
				t.Errorf("%s finds %d, want %d", query, got, want)
			}
		}
	})
}

func TestAPatchMendsManyAndSaysWhichNot(t *testing.T) {
	t.Parallel()
	odd := sample(t, "odd")
	odd.Type = "none.of.ours"
	s := open(t, sample(t, "a"), sample(t, "b"), odd)
	w := do(t, s, "POST", "/api/v1/letters/patch", `{"selection":{"filter":{"group":"points"}},"reason":"renamed",
		"patch":[{"op":"test","path":"/order/id","value":"o-1"},{"op":"replace","path":"/order/userId","value":"u-9"}]}`, roleOperator)
	var done store.Mended
	must(t, json.Unmarshal(w.Body.Bytes(), &done))
	if done.Mended != 2 || len(done.Refused) != 1 || done.Refused[0].Letter != "odd" {
		t.Errorf("patched: %s", w.Body)
	}
	l, _, err := s.Letter(t.Context(), "a")
	must(t, err)
	var m orderv1.OrderCreated
	must(t, proto.Unmarshal(l.Value, &m))
	if m.GetOrder().GetUserId() != "u-9" || m.GetOrder().GetPaymentRef() != "secret-ref" || l.EventID != "a" || l.Revision != 1 {
		t.Errorf("the letter is now %+v with %v", l, &m)
	}
}

// What is about to be deleted for its age is said wherever causes are read.
func TestWhatExpiresIsSaid(t *testing.T) {
	t.Parallel()
	young := sample(t, "young")
	young.Last.LastMS = time.Now().UnixMilli()
	s := open(t, sample(t, "old"), young)
	if got := do(t, s, "GET", "/api/v1/causes", "", roleViewer).Body.String(); !strings.Contains(got, `"expiring":1,"within":"1h0m0s"`) {
		t.Errorf("causes are %s", got)
	}
}

func TestAJobIsToldLive(t *testing.T) {
	t.Parallel()
	s := open(t, sample(t, "l"))
	j, err := s.CreateJob(t.Context(), replay.Job{Mode: replay.Run, Reason: "r", By: "ann", Rate: 1}, store.Selection{IDs: []string{"l"}}, []string{"points"})
	must(t, err)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	token, err := auth.Issue(key, "ann", []string{roleViewer}, time.Hour)
	must(t, err)
	ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/api/v1/jobs/"+j.ID+"/events", nil)
	must(t, err)
	ask.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(ask)
	must(t, err)
	defer func() { _ = answer.Body.Close() }()
	lines := bufio.NewScanner(answer.Body)
	next := func() (data string) {
		for lines.Scan() {
			if text, found := strings.CutPrefix(lines.Text(), "data: "); found {
				return text
			}
		}
		return ""
	}
	if first := next(); !strings.Contains(first, `"running"`) {
		t.Errorf("first %q", first)
	}
	_, err = s.Act(t.Context(), j.ID, replay.Cancel, "ann", "")
	must(t, err)
	if second := next(); !strings.Contains(second, `"cancelled"`) {
		t.Errorf("then %q", second)
	}
	if rest := next(); rest != "" {
		t.Errorf("a job that ended is told on: %q", rest)
	}
}

func TestOurOwnFaultsStayHere(t *testing.T) {
	t.Parallel()
	s := open(t)
	must(t, s.DB.Close())
	if w := do(t, s, "GET", "/api/v1/letters", "", roleViewer); w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "sql") {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
}
