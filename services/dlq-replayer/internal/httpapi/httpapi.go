// Package httpapi is the door of dlq-replayer: what operators and viewers may read and say about dead letters.
//
// It promises that nobody without a role sees anything, and that a letter's bytes arrive as they are, whatever they hold.
package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/letter"
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

// letters is what the door shows.
type letters interface {
	Causes(ctx context.Context, all bool) ([]store.Cause, error)
	NoteCause(ctx context.Context, id, note string, muted bool) error
	Letters(ctx context.Context, q store.Query) (page []letter.Letter, next string, err error)
	Letter(ctx context.Context, id string) (letter.Letter, []letter.Failure, error)
}

// verifier believes tokens, or not.
type verifier interface {
	Verify(ctx context.Context, token string) (auth.Caller, error)
}

// Config is what the door stands on.
type Config struct {
	Letters  letters
	Verifier verifier
	Log      *slog.Logger
}

type server struct{ Config }

// New is the door as an http.Handler.
func New(cfg Config) http.Handler {
	s := server{cfg}
	mux := http.NewServeMux()
	mux.Handle("GET /api/v1/causes", s.to(roleViewer, s.causes))
	mux.Handle("PATCH /api/v1/causes/{id}", s.to(roleOperator, s.noteCause))
	mux.Handle("GET /api/v1/letters", s.to(roleViewer, s.list))
	mux.Handle("GET /api/v1/letters/{id}", s.to(roleViewer, s.show))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, store.ErrNotFound) })
	return mux
}

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

// to lets callers with the role pass, and operators; it answers with what handle returns.
func (s server) to(role string, handle func(r *http.Request, who auth.Caller) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := s.admit(r, role)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		answer, err := handle(r, who)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(answer) // the caller left
	})
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

func (s server) causes(r *http.Request, _ auth.Caller) (any, error) {
	all, err := s.Letters.Causes(r.Context(), r.URL.Query().Get("all") == "true")
	if err != nil {
		return nil, err
	}
	out := struct {
		Causes []causeView `json:"causes"`
	}{[]causeView{}}
	for _, c := range all {
		out.Causes = append(out.Causes, viewCause(c))
	}
	return out, nil
}

func (s server) noteCause(r *http.Request, _ auth.Caller) (any, error) {
	var in struct {
		Note  string `json:"note"`
		Muted bool   `json:"muted"`
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return nil, invalid("send {\"note\":\"…\",\"muted\":true|false}")
	}
	if len([]rune(in.Note)) > maxNote || strings.ContainsRune(in.Note, 0) {
		return nil, invalid(fmt.Sprintf("a note has at most %d characters, none of them NUL", maxNote))
	}
	return in, s.Letters.NoteCause(r.Context(), r.PathValue("id"), in.Note, in.Muted)
}

func (s server) list(r *http.Request, _ auth.Caller) (any, error) {
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

// queryOf reads the filters; a parameter that is no filter is refused, so that a typing error does not select all.
func queryOf(r *http.Request) (store.Query, error) {
	q := store.Query{Limit: 50}
	for name, values := range r.URL.Query() {
		value := values[len(values)-1]
		switch name {
		case "cause":
			q.Cause = value
		case "group":
			q.Group = value
		case "topic":
			q.Topic = value
		case "type":
			q.Type = value
		case "kind":
			q.Kind = value
		case "cursor":
			q.Cursor = value
		case "state":
			if q.State = letter.State(value); !q.State.Known() {
				return q, invalid("state is dead, discarded or applied")
			}
		case "limit":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > 500 {
				return q, invalid("limit is a number from 1 to 500")
			}
			q.Limit = n
		default:
			return q, invalid(fmt.Sprintf("%q is no filter: there are cause, group, topic, type, kind, state, limit and cursor", name))
		}
		if strings.ContainsRune(value, 0) {
			return q, invalid(name + " holds a NUL")
		}
	}
	return q, nil
}

func (s server) show(r *http.Request, who auth.Caller) (any, error) {
	l, failures, err := s.Letters.Letter(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return viewWhole(l, failures, !who.Has(roleOperator)), nil
}
