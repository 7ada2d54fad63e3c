package kafka

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	notrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/tracing"
)

// sending is what a Writer tells of its sends.
type sending struct {
	took   metric.Float64Histogram
	sent   metric.Int64Counter
	tracer trace.Tracer
}

func newSending(provider metric.MeterProvider, tracer trace.TracerProvider) sending {
	if provider == nil {
		provider = noop.NewMeterProvider()
	}
	if tracer == nil {
		tracer = notrace.NewTracerProvider()
	}
	m := provider.Meter("floodgate/kafka")
	// Instruments with constant, valid names: their errors cannot happen.
	took, _ := m.Float64Histogram("messaging.client.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("How long sends and polls that brought records took."))
	sent, _ := m.Int64Counter("messaging.client.sent.messages", metric.WithUnit("{message}"),
		metric.WithDescription("Records that were sent and acknowledged, or that may not have been (error.type)."))
	return sending{took, sent, tracer.Tracer("floodgate/kafka")}
}

// note tells of one piece: it took the same for each of its topics. Of each, the first message that is recorded is the example.
func (s sending) note(ctx context.Context, piece []outbox.Message, sent spans, began time.Time, err error) {
	topics := map[string]int64{}
	for _, m := range piece {
		topics[m.Topic]++
	}
	for topic, n := range topics {
		about := messaging("send", topic)
		if err != nil {
			about = append(about, attribute.String("error.type", "send_failed"))
		}
		with := metric.WithAttributes(about...)
		s.took.Record(trace.ContextWithSpanContext(ctx, sent.first[topic]), time.Since(began).Seconds(), with)
		s.sent.Add(ctx, n, with)
	}
}

// spans are those of one piece.
type spans struct {
	all   processing
	first map[string]trace.SpanContext // by topic
}

func (s *spans) add(topic string, span trace.Span) {
	if s.first == nil {
		s.first = map[string]trace.SpanContext{}
	}
	if _, known := s.first[topic]; !known {
		s.first[topic] = span.SpanContext()
	}
	s.all = append(s.all, span)
}

// trace begins a span for each message whose trace is recorded, and lets an event carry that span on. What is set aside or
// sent back keeps the headers it had: a letter is told byte for byte.
func (s sending) trace(ctx context.Context, batches []*batch) (sent spans) {
	for _, b := range batches {
		for i, m := range b.messages {
			of, recorded := origin(m.Headers)
			job := replayOf(m.Headers)
			if !recorded && job == nil || len(sent.all) == mostSpans {
				continue
			}
			under := trace.ContextWithRemoteSpanContext(ctx, of)
			if !recorded {
				under = tracing.Keep(ctx)
			}
			at, span := s.tracer.Start(under, "send "+m.Topic, trace.WithSpanKind(trace.SpanKindProducer),
				trace.WithAttributes(append(append(messaging("send", m.Topic), attribute.String("messaging.operation.type", "send"),
					attribute.String("messaging.kafka.message.key", clean(string(m.Key)))), job...)...))
			sent.add(m.Topic, span)
			if outbox.Limit(m.Topic) == outbox.MaxBytes {
				b.messages[i].Headers = renewed(at, m.Headers)
			}
		}
	}
	return sent
}

// renewed is a copy of headers that names ctx's span.
func renewed(ctx context.Context, headers []Header) []Header {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	headers = slices.Clone(headers)
	for i, h := range headers {
		if h.Key == headerTrace && carrier[headerTrace] != "" {
			headers[i].Value = []byte(carrier[headerTrace])
		}
	}
	return headers
}
