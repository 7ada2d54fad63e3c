// Package tracing decides which traces are recorded, and keeps what it costs a request that is not to next to nothing.
//
// It promises that a request which goes wrong or is slow can be seen, whatever the share of requests that are recorded: its
// root and the stages below it, under the name that the log has; and that a trace once recorded is recorded to its end, by
// every service.
package tracing

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// scope names the spans that this package makes.
const scope = "github.com/floodgate-dev/floodgate/pkg/tracing"

// sampler records what its beginner recorded, what somebody wants kept, and of traces begun here a share.
type sampler struct{ share sdktrace.Sampler }

// Sampler is of a provider that records a share of the traces begun here. A trace begun elsewhere keeps its beginner's choice.
func Sampler(share float64) sdktrace.Sampler { return sampler{sdktrace.TraceIDRatioBased(share)} }

// ShouldSample decides when a span begins.
func (s sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	parent := trace.SpanContextFromContext(p.ParentContext)
	_, kept := p.ParentContext.Value(keepKey{}).(keep)
	switch {
	case kept, parent.IsSampled():
		return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample, Tracestate: parent.TraceState()}
	case parent.IsValid():
		return sdktrace.SamplingResult{Decision: sdktrace.Drop, Tracestate: parent.TraceState()}
	}
	return s.share.ShouldSample(p)
}

// Description names it.
func (s sampler) Description() string { return "Floodgate{" + s.share.Description() + "}" }

type keepKey struct{}

// keep marks a context whose next span is recorded whatever its parent chose. as, where it is valid, is that span's name.
type keep struct{ as trace.SpanContext }

// Keep returns a context whose next span is recorded, however small the share of traces that are: for errors, and for what
// an operator asked for. The spans below it follow it.
func Keep(ctx context.Context) context.Context { return context.WithValue(ctx, keepKey{}, keep{}) }

// Names is how a provider names traces and spans: at random, but a request that is kept has the name that it had from the
// start.
type Names struct{}

// NewIDs names a trace and its first span.
func (Names) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if k, _ := ctx.Value(keepKey{}).(keep); k.as.IsValid() {
		return k.as.TraceID(), k.as.SpanID()
	}
	return newTraceID(), newSpanID()
}

// NewSpanID names a span of a trace.
func (Names) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if k, _ := ctx.Value(keepKey{}).(keep); k.as.IsValid() {
		return k.as.SpanID()
	}
	return newSpanID()
}

// newTraceID is random, as W3C's Trace Context wants it; it protects nothing.
func newTraceID() (id trace.TraceID) {
	binary.LittleEndian.PutUint64(id[:8], rand.Uint64())   //nolint:gosec // a name, not a secret
	binary.LittleEndian.PutUint64(id[8:], rand.Uint64()|1) //nolint:gosec // the same; never all zeros
	return id
}

func newSpanID() (id trace.SpanID) {
	binary.LittleEndian.PutUint64(id[:], rand.Uint64()|1) //nolint:gosec // a name, not a secret
	return id
}

// keptASecond bounds the traces that are kept for being slow or wrong: of an outage the first are enough.
const keptASecond = 20

// Few lets a few through in each second. Its zero value is ready.
type Few struct {
	mu     sync.Mutex // guards what follows
	second int64
	n      int
}

// Room says that not too many were let through in this second.
func (f *Few) Room() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now().Unix(); now != f.second {
		f.second, f.n = now, 0
	}
	f.n++
	return f.n <= keptASecond
}
