package accept

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/tracing"
)

// trace begins a span of what is done for a batch that holds orders whose traces are recorded: below the first of them, linked to all.
// Their events are written with the traces they belong to. Where none is recorded there is no span, and the context names the
// first order's trace all the same: a slow statement of the batch is told of in it.
func (c *Committer) trace(ctx context.Context, name string, slots []*slot) (context.Context, trace.Span) {
	if c.cfg.Tracer == nil {
		return ctx, nil
	}
	var links []trace.Link
	var traces outbox.Traces
	for _, s := range slots {
		if !s.trace.IsSampled() {
			continue
		}
		if traces == nil {
			traces = outbox.Traces{}
		}
		traces[s.draft.ID] = s.trace
		links = append(links, trace.Link{SpanContext: s.trace})
	}
	if links == nil {
		return named(ctx, slots), nil
	}
	ctx, span := c.cfg.Tracer.Tracer("github.com/floodgate-dev/floodgate/services/order-api/accept").Start(
		trace.ContextWithSpanContext(ctx, links[0].SpanContext), name, trace.WithLinks(links...),
		trace.WithAttributes(attribute.Int("floodgate.batch.size", len(slots))))
	batch := span.SpanContext()
	for _, s := range slots {
		s.batch = &batch
	}
	return outbox.WithTraces(ctx, traces), span
}

// named returns a context that belongs to the trace of one of those in slots: of the first that is recorded, or else of the
// first. What is appended under it must not be theirs: of many, each has a trace of its own.
func named(ctx context.Context, slots []*slot) context.Context {
	of := slots[0].trace
	if i := slices.IndexFunc(slots, func(s *slot) bool { return s.trace.IsSampled() }); i >= 0 {
		of = slots[i].trace
	}
	if !of.IsValid() {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, of)
}

// recorded returns a context that belongs to the order's trace where that is recorded: the order is an example of what is
// measured under it.
func (s *slot) recorded(ctx context.Context) context.Context {
	if !s.trace.IsSampled() {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, s.trace)
}

func finish(span trace.Span, err error) {
	if span == nil {
		return
	}
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, "the batch was not accepted")
	}
	span.End()
}

// tell says of the order's request how long it waited for a committer, for the gate, and for the transaction of its batch.
func (s *slot) tell(ctx context.Context) {
	if s.picked.IsZero() { // it was never taken
		return
	}
	tracing.Told(ctx, "queue", s.queued, s.picked, nil)
	if s.passed.IsZero() { // refused before it, and looked up
		tracing.Told(ctx, "lookup", s.picked, time.Now(), nil)
		return
	}
	tracing.Told(ctx, "gate", s.picked, s.passed, nil)
	if s.ticket.Refused() {
		return
	}
	tracing.Told(ctx, "commit", s.passed, time.Now(), s.batch)
}
