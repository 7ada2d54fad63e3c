package tracing

import (
	"context"
	"encoding/binary"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Edge is where requests come in. It decides which requests' traces are recorded: those that their caller recorded, and a
// share of the others. Of the rest it knows at the end which were slow or went wrong, and records these then, from the
// times that were remembered.
type Edge struct {
	// Share of the traces begun here is recorded.
	Share float64
	// Slow is how long a request may take before it is kept.
	Slow time.Duration
	// Off says that nobody takes spans; requests have names all the same, for the log.
	Off bool
	// Tracer makes the spans. Its provider has Sampler and Names.
	Tracer trace.TracerProvider

	few Few
}

// Request is one under way.
type Request struct {
	Context context.Context
	Began   time.Time

	edge *Edge
	span trace.Span // where it is recorded
	in   *journey   // where it is not
}

// Arrive begins a request with a context of its own.
func (e *Edge) Arrive(ctx context.Context, header http.Header) Request {
	r := Request{edge: e, Began: time.Now()}
	var from trace.SpanContext
	if header["Traceparent"] != nil {
		from = trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(header)))
	}
	id := from.TraceID()
	if !from.IsValid() {
		id = newTraceID()
	}
	if !e.Off && (from.IsSampled() || !from.IsValid() && e.samples(id)) {
		r.Context, r.span = e.start(ctx, from, trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: newSpanID()}), r.Began)
		return r
	}
	r.in = &journey{from: from, began: r.Began, tracer: e.Tracer, context: trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: newSpanID(), TraceState: from.TraceState(),
	})}
	r.Context = trace.ContextWithSpan(ctx, r.in)
	return r
}

// samples decides by the trace's own random name.
func (e *Edge) samples(id trace.TraceID) bool {
	return binary.BigEndian.Uint64(id[8:])>>1 < uint64(e.Share*(1<<63))
}

// start begins the root of what happens here, under the name as.
func (e *Edge) start(ctx context.Context, from, as trace.SpanContext, began time.Time) (context.Context, trace.Span) {
	if from.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, from)
	}
	_, span := e.Tracer.Tracer(scope).Start(context.WithValue(ctx, keepKey{}, keep{as}), "HTTP", trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(began))
	return trace.ContextWithSpan(ctx, span), span // what is below has names of its own
}

// Answer is how a request ended.
type Answer struct {
	Name       func() string // of the span: method and route
	Status     int           // of HTTP
	Stream     bool          // it lasted as long as its caller wanted
	Attributes func() []attribute.KeyValue
}

// Leave ends a request after it took so long. What is measured of it belongs to the context that is returned: that of a
// recorded span, where the request is recorded or has just turned out to be worth it.
func (r Request) Leave(a Answer, took time.Duration) context.Context {
	if r.span != nil {
		a.finish(r.span, r.Began.Add(took))
		return r.Context
	}
	wrong := a.Status >= http.StatusInternalServerError
	if !r.edge.Off && (wrong || took >= r.edge.Slow && !a.Stream) && r.edge.few.Room() {
		return r.keep(a, took)
	}
	return r.Context
}

// keep records a request that is over.
func (r Request) keep(a Answer, took time.Duration) context.Context {
	ctx, span := r.edge.start(context.Background(), r.in.from, r.in.context, r.Began)
	span.SetAttributes(attribute.Bool("floodgate.kept", true))
	for i, s := range r.in.stages[:r.in.n] {
		var link *trace.SpanContext
		if r.in.link != nil && r.in.linked == i {
			link = r.in.link
		}
		tell(ctx, r.edge.Tracer.Tracer(scope), s.name, r.Began.Add(s.from), r.Began.Add(s.to), link)
	}
	a.finish(span, r.Began.Add(took))
	return ctx
}

func (a Answer) finish(span trace.Span, at time.Time) {
	span.SetName(a.Name())
	span.SetAttributes(a.Attributes()...)
	if a.Status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(at))
}
