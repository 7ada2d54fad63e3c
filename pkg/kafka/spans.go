package kafka

import (
	"context"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/tracing"
)

const headerTrace = "traceparent"

// mostSpans bounds the spans of one transaction: a batch may hold many records whose traces are recorded.
const mostSpans = 32

// origin is the span that sent the record's event, where its trace is recorded. Of most records it is not, and they are
// told by the last digit: what ends in 0 is not.
func origin(headers []Header) (trace.SpanContext, bool) {
	for _, h := range headers {
		if h.Key != headerTrace {
			continue
		}
		if strings.HasSuffix(string(h.Value), "0") {
			return trace.SpanContext{}, false
		}
		of := read(headers)
		return of, of.IsSampled()
	}
	return trace.SpanContext{}, false
}

func read(headers []Header) trace.SpanContext {
	carrier := propagation.MapCarrier{}
	for _, h := range headers {
		if h.Key == headerTrace || h.Key == "tracestate" {
			carrier[h.Key] = string(h.Value)
		}
	}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}

// processing are the spans of what one transaction applies.
type processing []trace.Span

func (p processing) end(err error) {
	for _, span := range p {
		if err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, kindOf(err))
		}
		span.End()
	}
}

// trace begins a span for each record whose trace is recorded: within that trace, and linked to the send. What the handler
// appends belongs to the trace of its key; the database's work, which is done once for all, to the first, and the others
// are linked to that. Replays are recorded always, for an operator asked for them. Where nothing is recorded there is no span,
// and the context names what the first record carries, if it does: a slow statement is told of in it.
func (c *Consumer) trace(ctx context.Context, all ...*share) (context.Context, processing) {
	var spans processing
	var traces outbox.Traces
	first := ctx
	for _, s := range all {
		replayed := s.topic == ReplayTopic(s.Group)
		for i, record := range s.records {
			of, recorded := origin(record.Headers)
			if !recorded && !replayed || len(spans) == mostSpans {
				continue
			}
			var links []trace.Link
			if of.IsValid() {
				links = append(links, trace.Link{SpanContext: of})
			}
			if len(spans) > 0 {
				links = append(links, trace.Link{SpanContext: spans[0].SpanContext()})
			}
			under := trace.ContextWithRemoteSpanContext(ctx, of)
			if !recorded {
				under = tracing.Keep(ctx)
			}
			_, span := s.tracer.Start(under, "process "+s.topic, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(links...),
				trace.WithAttributes(s.attributes(s.records[i], len(s.records))...))
			if spans = append(spans, span); len(spans) == 1 {
				first, traces = trace.ContextWithSpan(ctx, span), outbox.Traces{}
			}
			traces[string(record.Key)] = span.SpanContext()
		}
	}
	if spans == nil {
		return named(ctx, all[0].records), nil
	}
	return outbox.WithTraces(first, traces), spans
}

// named returns a context that belongs to the trace that the first of records carries.
func named(ctx context.Context, records []Record) context.Context {
	if len(records) == 0 {
		return ctx
	}
	if of := read(records[0].Headers); of.IsValid() {
		return trace.ContextWithRemoteSpanContext(ctx, of)
	}
	return ctx
}

// attributes are what the conventions want said of a record that is processed, and of a replay whose it is.
func (p *partition) attributes(r Record, batch int) []attribute.KeyValue {
	all := append(messaging("process", p.topic),
		attribute.String("messaging.operation.type", "process"),
		attribute.String("messaging.destination.partition.id", strconv.Itoa(p.id)),
		attribute.String("messaging.consumer.group.name", p.Group),
		attribute.Int64("messaging.kafka.offset", r.Offset),
		attribute.String("messaging.kafka.message.key", clean(string(r.Key))),
		attribute.String("messaging.message.id", clean(r.EventID())),
		attribute.Int("messaging.batch.message_count", batch))
	return append(all, replayOf(r.Headers)...)
}

// replayOf names the job and the letter of a record that is sent back.
func replayOf(headers []Header) []attribute.KeyValue {
	r := Record{Headers: headers}
	job := r.text(headerJob)
	if job == "" {
		return nil
	}
	return []attribute.KeyValue{
		attribute.String("floodgate.replay.job", job), attribute.String("floodgate.replay.letter", r.text(headerLetter)),
		attribute.Bool("floodgate.replay.dry_run", r.Header(headerDryRun) == "true"),
	}
}

// failed records that a record failed, also where its trace is not recorded, and returns a context whose log lines name it.
func (p *partition) failed(ctx context.Context, record Record, cause error) context.Context {
	of, recorded := origin(record.Headers)
	if !recorded && !p.few.Room() {
		return ctx
	}
	if recorded {
		ctx = trace.ContextWithRemoteSpanContext(ctx, of)
	}
	_, span := p.tracer.Start(tracing.Keep(ctx), "refuse "+p.topic, trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(p.attributes(record, 1)...))
	processing{span}.end(cause)
	return trace.ContextWithSpanContext(ctx, span.SpanContext())
}
