// Package httpapi is the door of dlq-replayer: what operators and viewers may read of dead letters and do about them.
//
// It promises that nobody without a role sees anything, that a letter's bytes arrive as they are, whatever they hold, and
// that whatever is done stands in the audit.
package httpapi

import (
	"context"
	_ "embed" // openapi.yaml
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/letter"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/replay"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/store"
)

// Roles. A viewer reads; an operator may do all.
const (
	roleViewer   = "viewer"
	roleOperator = "operator"
)

const (
	grace   = 5 * time.Second // for answers under way at the end
	maxBody = 64 << 10
	maxNote = 2000 // characters
)

// verifier believes tokens, or not.
type verifier interface {
	Verify(ctx context.Context, token string) (auth.Caller, error)
}

// Config is what the door stands on.
type Config struct {
	Letters  store.Store
	Groups   []string // that letters may be sent back to
	Verifier verifier
	Log      *slog.Logger

	// Letters go after Retention; Warning before that callers are told. Zero for never.
	Retention, Warning time.Duration
}

type server struct{ Config }

// route is one verb of the API. A handler's answer is sent as JSON, unless the handler wrote one itself and returns nil.
type route struct {
	pattern string
	role    string
	handle  func(w http.ResponseWriter, r *http.Request, who auth.Caller) (any, error)
}

// routes are all verbs of the API.
func (s server) routes() []route {
	return []route{
		{"GET /api/v1/causes", roleViewer, s.causes},
		{"PATCH /api/v1/causes/{id}", roleOperator, s.noteCause},
		{"GET /api/v1/letters", roleViewer, s.list},
		{"GET /api/v1/letters/{id}", roleViewer, s.show},
		{"GET /api/v1/letters/export", roleOperator, s.export},
		{"POST /api/v1/letters/import", roleOperator, s.imports},
		{"POST /api/v1/letters/patch", roleOperator, s.patch},
		{"POST /api/v1/letters/discard", roleOperator, s.decide("discard")},
		{"POST /api/v1/letters/quarantine", roleOperator, s.decide("quarantine")},
		{"POST /api/v1/letters/restore", roleOperator, s.decide("restore")},
		{"POST /api/v1/letters/{id}/edit", roleOperator, s.edit},
		{"POST /api/v1/letters/{id}/original", roleOperator, s.original},
		{"GET /api/v1/jobs", roleViewer, s.jobs},
		{"POST /api/v1/jobs", roleOperator, s.createJob},
		{"GET /api/v1/jobs/{id}", roleViewer, s.job},
		{"GET /api/v1/jobs/{id}/letters", roleViewer, s.jobLetters},
		{"GET /api/v1/jobs/{id}/events", roleViewer, s.jobEvents},
		{"POST /api/v1/jobs/{id}/pause", roleOperator, s.act(replay.Stop)},
		{"POST /api/v1/jobs/{id}/resume", roleOperator, s.act(replay.Resume)},
		{"POST /api/v1/jobs/{id}/cancel", roleOperator, s.act(replay.Cancel)},
		{"GET /api/v1/audit", roleViewer, s.audit},
		{"GET /api/v1/audit/verify", roleViewer, s.verifyAudit},
	}
}

// New is the door as an http.Handler.
func New(cfg Config) http.Handler {
	s := server{cfg}
	mux := http.NewServeMux()
	for _, route := range s.routes() {
		mux.Handle(route.pattern, s.to(route))
	}
	mux.HandleFunc("GET /openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(openAPI) // the caller left
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, store.ErrNotFound) })
	return mux
}

//go:embed openapi.yaml
var openAPI []byte

// Serve opens the door at addr until ctx ends; nil then.
func Serve(ctx context.Context, addr string, door http.Handler) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("http door: %w", err)
	}
	srv := &http.Server{
		Handler: door, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute,
	}
	if err := run.ServeHTTP(ctx, listener, srv, grace); err != nil {
		return fmt.Errorf("http door: %w", err)
	}
	return nil
}

var errForbidden = errors.New("the token's roles do not allow this")

// invalid is a refusal whose words are the caller's to read.
type invalid string

func (i invalid) Error() string { return string(i) }

// to lets callers with the route's role pass, and operators.
func (s server) to(route route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := s.admit(r, route.role)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		if !isText(r.PathValue("id")) { // no letter, job or cause has such an id
			s.fail(w, r, store.ErrNotFound)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		answer, err := route.handle(w, r, who)
		switch {
		case err != nil:
			s.fail(w, r, err)
		case answer != nil:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(answer) // the caller left
		}
	})
}

// isText says whether s may be asked of a database: Postgres takes no NUL, and no bytes that are no text.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// body reads a request's JSON, of at most limit bytes.
func body(w http.ResponseWriter, r *http.Request, limit int64, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return err
		}
		return invalid("the body is not the JSON that is asked for: " + err.Error())
	}
	if d.More() {
		return invalid("the body has more than one JSON value")
	}
	return nil
}

func (s server) admit(r *http.Request, role string) (auth.Caller, error) {
	scheme, token, found := strings.Cut(r.Header.Get("Authorization"), " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return auth.Caller{}, auth.ErrUnauthenticated
	}
	who, err := s.Verifier.Verify(r.Context(), strings.TrimSpace(token))
	if err == nil && !who.Has(role) && !who.Has(roleOperator) {
		err = errForbidden
	}
	return who, err
}

// problem is RFC 9457's problem details.
type problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Code     string `json:"code"`
	Instance string `json:"instance"`
}

// fail is the only place that turns an error into an answer.
func (s server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, code, detail := http.StatusInternalServerError, "internal", "this was logged"
	var refusal invalid
	var large *http.MaxBytesError
	switch {
	case errors.Is(err, auth.ErrUnauthenticated):
		status, code, detail = http.StatusUnauthorized, "unauthenticated", "send Authorization: Bearer with a token that is signed, in time and meant for this service"
		w.Header().Set("WWW-Authenticate", `Bearer realm="floodgate"`)
	case errors.Is(err, errForbidden):
		status, code, detail = http.StatusForbidden, "forbidden", errForbidden.Error()
	case errors.Is(err, store.ErrNotFound):
		status, code, detail = http.StatusNotFound, "not-found", "there is no such thing here"
	case errors.Is(err, store.ErrCursor):
		status, code, detail = http.StatusBadRequest, "malformed-request", store.ErrCursor.Error()
	case errors.As(err, &large):
		status, code, detail = http.StatusRequestEntityTooLarge, "too-large", fmt.Sprintf("a body here has at most %d bytes", large.Limit)
	case errors.Is(err, replay.ErrIllegal), errors.Is(err, store.ErrBusy):
		status, code, detail = http.StatusConflict, "illegal-move", err.Error()
	case errors.Is(err, store.ErrNothing), errors.Is(err, store.ErrTooMany), errors.Is(err, store.ErrAmbigue):
		status, code, detail = http.StatusUnprocessableEntity, "invalid-request", err.Error()
	case errors.As(err, &refusal):
		status, code, detail = http.StatusUnprocessableEntity, "invalid-request", refusal.Error()
	case errors.Is(err, auth.ErrKeysAway), database.Unavailable(err), database.Retryable(err):
		status, code, detail = http.StatusServiceUnavailable, "dependency-unavailable", "a part of the system is away; try again in a moment"
		w.Header().Set("Retry-After", "1")
	default:
		s.Log.ErrorContext(r.Context(), "request", "path", r.URL.Path, "error", err)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem{
		"https://floodgate.dev/problems/" + code, http.StatusText(status), status, detail, code, r.URL.Path,
	})
}

func (s server) causes(_ http.ResponseWriter, r *http.Request, _ auth.Caller) (any, error) {
	if err := onlyParameters(r, "all"); err != nil {
		return nil, err
	}
	all, err := s.Letters.Causes(r.Context(), r.URL.Query().Get("all") == "true")
	if err != nil {
		return nil, err
	}
	out := struct {
		Causes   []causeView `json:"causes"`
		Expiring int         `json:"expiring,omitempty"` // letters that are deleted for their age soon
		Within   string      `json:"within,omitempty"`
	}{Causes: []causeView{}}
	if s.Retention > 0 {
		if out.Expiring, err = s.Letters.Expiring(r.Context(), s.Retention, s.Warning); err != nil {
			return nil, err
		}
		if out.Expiring > 0 {
			out.Within = s.Warning.String()
		}
	}
	for _, c := range all {
		out.Causes = append(out.Causes, viewCause(c))
	}
	return out, nil
}

func (s server) noteCause(w http.ResponseWriter, r *http.Request, who auth.Caller) (any, error) {
	var in struct {
		Note  string `json:"note"`
		Muted bool   `json:"muted"`
	}
	if err := body(w, r, maxBody, &in); err != nil {
		return nil, err
	}
	if len([]rune(in.Note)) > maxNote || strings.ContainsRune(in.Note, 0) {
		return nil, invalid(fmt.Sprintf("a note has at most %d characters, none of them NUL", maxNote))
	}
	return in, s.Letters.NoteCause(r.Context(), r.PathValue("id"), in.Note, in.Muted, who.Subject)
}

func (s server) list(_ http.ResponseWriter, r *http.Request, _ auth.Caller) (any, error) {
	q, err := queryOf(r)
	if err != nil {
		return nil, err
	}
	page, next, err := s.Letters.Letters(r.Context(), q)
	if err != nil {
		return nil, err
	}
	out := struct {
		Letters []letterView `json:"letters"`
		Next    string       `json:"next,omitempty"`
	}{[]letterView{}, next}
	for _, l := range page {
		out.Letters = append(out.Letters, viewLetter(l))
	}
	return out, nil
}

// queryOf reads a page's filters from the address; a parameter that is no filter is refused, so that a typing error does
// not select all.
func queryOf(r *http.Request) (q store.Query, err error) {
	q.Limit = 50
	filters := map[string]string{}
	for name, values := range r.URL.Query() {
		switch value := values[len(values)-1]; name {
		case "cursor":
			q.Cursor = value
		case "limit":
			if q.Limit, err = strconv.Atoi(value); err != nil || q.Limit < 1 || q.Limit > 500 {
				return q, invalid("limit is a number from 1 to 500")
			}
		default:
			filters[name] = value
		}
	}
	return filtered(q, filters)
}

// filtered adds filters to q. Each is what the address and a selection's filter call it.
func filtered(q store.Query, filters map[string]string) (store.Query, error) {
	texts := map[string]*string{
		"cause": &q.Cause, "group": &q.Group, "topic": &q.Topic, "type": &q.Type, "kind": &q.Kind, "key": &q.Key, "text": &q.Text,
	}
	for name, value := range filters {
		if !isText(value) {
			return q, invalid(name + " holds a NUL or bytes that are no text")
		}
		if value == "" {
			continue
		}
		switch name {
		case "state":
			if q.State = letter.State(value); !q.State.Known() {
				return q, invalid("state is dead, quarantined, discarded or applied")
			}
		case "after", "before":
			at, err := time.Parse(time.RFC3339, value)
			if err != nil {
				return q, invalid(name + " is a time such as 2026-11-24T08:00:00Z")
			}
			if name == "after" {
				q.After = at.UnixMilli()
			} else {
				q.Before = at.UnixMilli()
			}
		default:
			into, known := texts[name]
			if !known {
				return q, invalid(fmt.Sprintf("%q is no filter: there are cause, group, topic, type, kind, key, text, state, after and before", name))
			}
			*into = value
		}
	}
	return q, nil
}

func (s server) show(_ http.ResponseWriter, r *http.Request, who auth.Caller) (any, error) {
	return s.whole(r.Context(), r.PathValue("id"), !who.Has(roleOperator))
}

// whole is all that is known of a letter.
func (s server) whole(ctx context.Context, id string, masked bool) (wholeView, error) {
	l, failures, err := s.Letters.Letter(ctx, id)
	if err != nil {
		return wholeView{}, err
	}
	replays, err := s.Letters.Replays(ctx, id)
	if err != nil {
		return wholeView{}, err
	}
	edits, err := s.Letters.Edits(ctx, id)
	if err != nil {
		return wholeView{}, err
	}
	v := viewWhole(l, failures, masked)
	for _, r := range replays {
		v.Replays = append(v.Replays, viewReplayed(r))
	}
	for _, e := range edits {
		v.Edits = append(v.Edits, viewEdit(l.Type, e, masked))
	}
	return v, nil
}
