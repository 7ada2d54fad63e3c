package outbox

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

// Traces says to which recorded trace the events of a key belong, where one transaction writes those of many.
type Traces map[string]trace.SpanContext

type tracesKey struct{}

// WithTraces returns a context under which events are appended with the traces of their keys. Those of other keys belong to
// none.
func WithTraces(ctx context.Context, traces Traces) context.Context {
	return context.WithValue(ctx, tracesKey{}, traces)
}

// carry is what an event of a recorded trace takes along.
type carry struct{ parent, state string }

func carried(of trace.SpanContext) carry {
	if !of.IsSampled() {
		return carry{}
	}
	trace := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(contextOf(of), trace)
	return carry{trace.Get("traceparent"), trace.Get("tracestate")}
}

// trace returns a context that belongs to the trace that r takes along, if any.
func (r row) trace(ctx context.Context) context.Context {
	if r.traceparent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": r.traceparent})
}

func contextOf(of trace.SpanContext) context.Context {
	return trace.ContextWithSpanContext(context.Background(), of)
}

// carriers are the columns of what events take along, and the words of the statement that read them. Only a trace that is
// recorded travels: of the others nobody would see anything, and most are such.
func carriers(ctx context.Context, events []Event) (columns []database.Column, words string, args []any) {
	traces, many := ctx.Value(tracesKey{}).(Traces)
	if !many {
		one := carried(trace.SpanContextFromContext(ctx))
		return nil, "$1, $2", []any{one.parent, one.state}
	}
	all := make([]carry, len(events))
	for i, e := range events {
		if of, known := traces[string(e.Key)]; known {
			all[i] = carried(of)
		}
	}
	parent, state := make([]string, len(all)), make([]string, len(all))
	for i, c := range all {
		parent[i], state[i] = c.parent, c.state
	}
	return []database.Column{database.Col("traceparent", "text", parent), database.Col("tracestate", "text", state)}, "v.traceparent, v.tracestate", nil
}
