package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
)

// mostStages bounds what is remembered of a request that is not recorded.
const mostStages = 6

// journey is a request whose trace is not recorded: a span that records nothing, has a name for the log, and remembers when
// each stage began and ended, in case the request turns out to be worth keeping. Only the request's goroutine uses it.
type journey struct {
	embedded.Span

	context trace.SpanContext
	from    trace.SpanContext // the caller's
	began   time.Time
	tracer  trace.TracerProvider
	stages  [mostStages]stage
	n       int
	link    *trace.SpanContext // of the last stage that has one
	linked  int
}

type stage struct {
	name     string
	from, to time.Duration // since the journey began
}

// note remembers a stage.
func (j *journey) note(name string, from, to time.Time, link *trace.SpanContext) {
	if j.n == mostStages {
		return
	}
	j.stages[j.n] = stage{name, from.Sub(j.began), to.Sub(j.began)}
	if link != nil {
		j.link, j.linked = link, j.n
	}
	j.n++
}

// The rest is what a span that records nothing does.

func (j *journey) SpanContext() trace.SpanContext          { return j.context }
func (j *journey) TracerProvider() trace.TracerProvider    { return j.tracer }
func (j *journey) IsRecording() bool                       { return false }
func (j *journey) End(...trace.SpanEndOption)              {}
func (j *journey) AddEvent(string, ...trace.EventOption)   {}
func (j *journey) AddLink(trace.Link)                      {}
func (j *journey) RecordError(error, ...trace.EventOption) {}
func (j *journey) SetStatus(codes.Code, string)            {}
func (j *journey) SetName(string)                          {}
func (j *journey) SetAttributes(...attribute.KeyValue)     {}

// Stage is a part of a request under way; the zero Stage is one that nobody remembers.
type Stage struct {
	span  trace.Span // where the request is recorded
	in    *journey   // where it is not
	name  string
	began time.Time
}

// Begin begins a stage of ctx's request. Where the request is recorded the stage is a span, and what is done with the
// context that is returned belongs to it; where it is not, the times are remembered and nothing is allocated.
func Begin(ctx context.Context, name string) (context.Context, Stage) {
	switch in := trace.SpanFromContext(ctx).(type) {
	case *journey:
		return ctx, Stage{in: in, name: name, began: time.Now()}
	default:
		if !in.IsRecording() {
			return ctx, Stage{}
		}
		ctx, span := in.TracerProvider().Tracer(scope).Start(ctx, name)
		return ctx, Stage{span: span}
	}
}

// End ends the stage.
func (s Stage) End() {
	if s.span != nil {
		s.span.End()
	}
	if s.in != nil {
		s.in.note(s.name, s.began, time.Now(), nil)
	}
}

// SoFar says of ctx's request that all of it until now was one stage.
func SoFar(ctx context.Context, name string) {
	switch in := trace.SpanFromContext(ctx).(type) {
	case *journey:
		in.note(name, in.began, time.Now(), nil)
	case interface{ StartTime() time.Time }: // a span that is recorded tells when it began
		Told(ctx, name, in.StartTime(), time.Now(), nil)
	}
}

// Told says of ctx's request that a stage of it took from one time to another, in another goroutine. link, unless nil, is
// a span that did the stage for many requests at once.
func Told(ctx context.Context, name string, from, to time.Time, link *trace.SpanContext) {
	span := trace.SpanFromContext(ctx)
	if in, is := span.(*journey); is {
		in.note(name, from, to, link)
		return
	}
	if span.IsRecording() {
		tell(ctx, span.TracerProvider().Tracer(scope), name, from, to, link)
	}
}

func tell(ctx context.Context, tracer trace.Tracer, name string, from, to time.Time, link *trace.SpanContext) {
	options := []trace.SpanStartOption{trace.WithTimestamp(from)}
	if link != nil {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: *link}))
	}
	_, span := tracer.Start(ctx, name, options...)
	span.End(trace.WithTimestamp(to))
}
