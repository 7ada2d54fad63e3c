package telemetry

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/tracing"
)

// Edge is where requests come in: it measures every answer, and traces those that tracing.Edge says.
type Edge struct {
	requests *Requests
	traces   *tracing.Edge
}

// Edge is t's door for requests.
func (t *Telemetry) Edge() (*Edge, error) {
	requests, err := NewRequests(t.Meter)
	if err != nil {
		return nil, err
	}
	return &Edge{requests, &tracing.Edge{Share: t.config.SampleRatio, Slow: t.config.Slow, Off: t.config.Endpoint == "", Tracer: t.Tracer}}, nil
}

// Request is one under way.
type Request struct {
	tracing.Request

	edge   *Edge
	method string
}

// Arrive begins a request, with a context of its own.
func (e *Edge) Arrive(ctx context.Context, method string, header http.Header) Request {
	r := Request{e.traces.Arrive(ctx, header), e, method}
	e.requests.Begin(r.Context, method)
	return r
}

// Leave ends a request with its answer. stream says that it lasted as long as its caller wanted.
func (r Request) Leave(route string, status int, stream bool) {
	took := time.Since(r.Began)
	about := answer{Method(r.method), route, status}
	ctx := r.Request.Leave(tracing.Answer{Name: about.name, Status: status, Stream: stream, Attributes: about.attributes}, took)
	r.edge.requests.Done(ctx, r.method, route, status, took) // after it is known whether the request is kept: it is the best example of its bucket
}

// name is that of a span.
func (a answer) name() string {
	if a.method == "_OTHER" {
		return strings.TrimSpace("HTTP " + a.route)
	}
	return strings.TrimSpace(a.method + " " + a.route)
}

// Handler measures and traces what next answers, by the pattern that next's ServeMux found.
func (e *Edge) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r := e.Arrive(req.Context(), req.Method, req.Header)
		req = req.WithContext(r.Context)
		seen := &seenWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() { r.Leave(route(req.Pattern), seen.status, isStream(w.Header())) }()
		next.ServeHTTP(seen, req)
	})
}

func isStream(h http.Header) bool {
	return strings.HasPrefix(h.Get("Content-Type"), "text/event-stream")
}
