package telemetry

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Requests measures what an HTTP door answers. It allocates nothing for a kind of answer that it has seen before.
type Requests struct {
	duration metric.Float64Histogram
	active   metric.Int64UpDownCounter
	known    sync.Map // of []metric.RecordOption, by answer
	methods  sync.Map // of []metric.AddOption, by method
}

// answer is a kind of answer. A route is a pattern, never an address.
type answer struct {
	method, route string
	status        int
}

// NewRequests measures with provider.
func NewRequests(provider metric.MeterProvider) (*Requests, error) {
	m := provider.Meter("github.com/floodgate-dev/floodgate/pkg/telemetry")
	duration, err := m.Float64Histogram("http.server.request.duration", metric.WithUnit("s"),
		metric.WithDescription("How long requests took, by route and status"))
	active, err2 := m.Int64UpDownCounter("http.server.active_requests", metric.WithUnit("{request}"),
		metric.WithDescription("Requests under way"))
	return &Requests{duration: duration, active: active}, errors.Join(err, err2)
}

// Begin counts a request as under way until Done.
func (r *Requests) Begin(ctx context.Context, method string) { r.active.Add(ctx, 1, r.of(method)...) }

// Done records a request's answer. ctx is the request's: where its trace is recorded, the answer is an example of its
// bucket.
func (r *Requests) Done(ctx context.Context, method, route string, status int, took time.Duration) {
	r.active.Add(ctx, -1, r.of(method)...)
	key := answer{Method(method), route, status}
	about, ok := r.known.Load(key)
	if !ok {
		about, _ = r.known.LoadOrStore(key, []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(key.attributes()...))})
	}
	r.duration.Record(ctx, took.Seconds(), about.([]metric.RecordOption)...) //nolint:forcetypeassert // nothing else is stored
}

func (r *Requests) of(method string) []metric.AddOption {
	method = Method(method)
	about, ok := r.methods.Load(method)
	if !ok {
		set := attribute.NewSet(attribute.String("http.request.method", method), attribute.String("url.scheme", "http"))
		about, _ = r.methods.LoadOrStore(method, []metric.AddOption{metric.WithAttributeSet(set)})
	}
	return about.([]metric.AddOption) //nolint:forcetypeassert // nothing else is stored
}

func (a answer) attributes() []attribute.KeyValue {
	all := []attribute.KeyValue{
		attribute.String("http.request.method", a.method), attribute.String("url.scheme", "http"),
		attribute.Int("http.response.status_code", a.status),
	}
	if a.route != "" {
		all = append(all, attribute.String("http.route", a.route))
	}
	if a.status >= http.StatusInternalServerError {
		all = append(all, attribute.String("error.type", http.StatusText(a.status)))
	}
	return all
}

// Method is a request's method as the conventions know it: whatever a caller makes up is _OTHER.
func Method(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
		http.MethodConnect, http.MethodTrace:
		return method
	}
	return "_OTHER"
}

// route is a ServeMux's pattern without its method.
func route(pattern string) string {
	if _, after, found := strings.Cut(pattern, " "); found {
		return after
	}
	return pattern
}

// seenWriter remembers the status.
type seenWriter struct {
	http.ResponseWriter

	status int
}

// WriteHeader notes the status.
func (w *seenWriter) WriteHeader(status int) {
	if status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *seenWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
