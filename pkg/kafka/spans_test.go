package kafka

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/tracing"
)

const (
	recordedA = "00-0a000000000000000000000000000000-0a00000000000000-01"
	recordedB = "00-0b000000000000000000000000000000-0b00000000000000-01"
	notC      = "00-0c000000000000000000000000000000-0c00000000000000-00"
)

func carrying(key, parent string) Record {
	r := Record{Topic: "events", Key: []byte(key)}
	if parent != "" {
		r.Headers = []Header{text("ce_id", key), text(headerTrace, parent)}
	}
	return r
}

func provider() (*sdktrace.TracerProvider, *tracetest.InMemoryExporter) {
	spans := tracetest.NewInMemoryExporter()
	return sdktrace.NewTracerProvider(sdktrace.WithIDGenerator(tracing.Names{}), sdktrace.WithSampler(tracing.Sampler(0)), sdktrace.WithSyncer(spans)), spans
}

// TestEachRecordIsProcessedInItsOwnTrace has a batch of two whose traces are recorded and two whose are not.
func TestEachRecordIsProcessedInItsOwnTrace(t *testing.T) {
	t.Parallel()
	tracer, exported := provider()
	c := NewConsumer(ConsumerConfig{Group: "points", Topics: []string{"events"}, Tracer: tracer})
	p := c.partition("events", 3, nil, &progress{})
	records := []Record{carrying("c", notC), carrying("a", recordedA), carrying("plain", ""), carrying("b", recordedB)}
	ctx, spans := c.trace(t.Context(), &share{partition: p, records: records})
	spans.end(nil)
	got := exported.GetSpans()
	if len(got) != 2 {
		t.Fatalf("%d spans, want those of a and b", len(got))
	}
	for i, want := range []string{"0a", "0b"} {
		s := got[i]
		if s.Name != "process events" || s.SpanKind != trace.SpanKindConsumer || s.Parent.SpanID().String()[:2] != want ||
			s.SpanContext.TraceID().String()[:2] != want || s.Links[0].SpanContext.SpanID() != s.Parent.SpanID() {
			t.Errorf("span %d is %s of %v below %v, linked to %v", i, s.Name, s.SpanContext, s.Parent, s.Links)
		}
	}
	if trace.SpanContextFromContext(ctx).SpanID() != got[0].SpanContext.SpanID() || len(got[1].Links) != 2 || got[1].Links[1].SpanContext.SpanID() != got[0].SpanContext.SpanID() {
		t.Error("the database's work is not below the first, or the second is not linked to it")
	}
}

// TestARoundThatNobodyRecordsBelongsToItsFirstRecord, where that carries a trace: a slow statement of it is told of there.
func TestARoundThatNobodyRecordsBelongsToItsFirstRecord(t *testing.T) {
	t.Parallel()
	tracer, exported := provider()
	c := NewConsumer(ConsumerConfig{Group: "points", Topics: []string{"events"}, Tracer: tracer})
	p := c.partition("events", 3, nil, &progress{})
	plain, carries := carrying("plain", ""), carrying("c", notC)
	for _, round := range []struct {
		records []Record
		of      string
	}{{[]Record{carries, plain}, notC[3:35]}, {[]Record{plain, carries}, ""}, {nil, ""}} {
		ctx, spans := c.trace(t.Context(), &share{partition: p, records: round.records})
		of := trace.SpanContextFromContext(ctx)
		if of.IsSampled() || of.IsValid() != (round.of != "") || of.IsValid() && of.TraceID().String() != round.of {
			t.Errorf("the round of %d belongs to trace %v, recorded %v; want %q, not recorded", len(round.records), of.TraceID(), of.IsSampled(), round.of)
		}
		if spans != nil || len(exported.GetSpans()) > 0 {
			t.Error("it has spans")
		}
	}
}

// TestAReplayIsAlwaysRecorded names its job, whether or not the order's trace was recorded.
func TestAReplayIsAlwaysRecorded(t *testing.T) {
	t.Parallel()
	tracer, exported := provider()
	c := NewConsumer(ConsumerConfig{Group: "points", Tracer: tracer})
	p := c.partition(ReplayTopic("points"), 0, nil, &progress{})
	for _, parent := range []string{"", recordedA} {
		exported.Reset()
		r := carrying("a", parent)
		r.Headers = append(r.Headers, Replay{Job: "j-1", Letter: "l-1", Topic: "events", DryRun: true}.Headers()...)
		_, spans := c.trace(t.Context(), &share{partition: p, records: []Record{r}})
		spans.end(nil)
		got := exported.GetSpans()
		if len(got) != 1 || (parent != "") != (got[0].SpanContext.TraceID().String()[:2] == "0a") {
			t.Fatalf("%q: spans %v", parent, got)
		}
		about := attribute.NewSet(got[0].Attributes...)
		job, _ := about.Value("floodgate.replay.job")
		dry, _ := about.Value("floodgate.replay.dry_run")
		if job.AsString() != "j-1" || !dry.AsBool() {
			t.Errorf("%q: it says %v", parent, got[0].Attributes)
		}
	}
}

// TestAFailureIsRecordedAlways, but not thousands of them.
func TestAFailureIsRecordedAlways(t *testing.T) {
	t.Parallel()
	tracer, exported := provider()
	c := NewConsumer(ConsumerConfig{Group: "points", Tracer: tracer})
	p := c.partition("events", 0, nil, &progress{})
	ctx := p.failed(t.Context(), carrying("plain", ""), Permanent("malformed", context.Canceled))
	got := exported.GetSpans()
	if len(got) != 1 || got[0].Name != "refuse events" || got[0].Status.Description != "malformed" {
		t.Fatalf("spans %v", got)
	}
	if trace.SpanContextFromContext(ctx).SpanID() != got[0].SpanContext.SpanID() {
		t.Error("the log would not name it")
	}
	for range 1000 {
		p.failed(t.Context(), carrying("plain", ""), context.Canceled)
	}
	if n := len(exported.GetSpans()); n > 100 {
		t.Errorf("%d failures were recorded", n)
	}
}

// TestARecordedMessageIsTheExampleOfItsSend, for each topic of a piece its own.
func TestARecordedMessageIsTheExampleOfItsSend(t *testing.T) {
	t.Parallel()
	tracer, _ := provider()
	reader := metric.NewManualReader()
	w := NewObservedWriter(Defaults(), metric.NewMeterProvider(metric.WithReader(reader)), tracer)
	defer func() { _ = w.Close() }() // it sent nothing
	piece := []outbox.Message{
		{Topic: "events", Headers: carrying("c", notC).Headers},
		{Topic: "events", Headers: carrying("a", recordedA).Headers},
		{Topic: "news", Headers: carrying("b", recordedB).Headers},
		{Topic: "others", Headers: carrying("c", notC).Headers},
	}
	w.told.note(t.Context(), piece, w.told.trace(t.Context(), []*batch{{messages: slices.Clone(piece)}}), time.Now(), nil)
	var told metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &told); err != nil {
		t.Fatal(err)
	}
	examples := map[string]string{}
	for _, m := range told.ScopeMetrics[0].Metrics {
		took, is := m.Data.(metricdata.Histogram[float64])
		if !is {
			continue
		}
		for _, p := range took.DataPoints {
			topic, _ := p.Attributes.Value("messaging.destination.name")
			for _, e := range p.Exemplars {
				examples[topic.AsString()] += hex.EncodeToString(e.TraceID[:1])
			}
		}
	}
	if want := map[string]string{"events": "0a", "news": "0b"}; !maps.Equal(examples, want) {
		t.Errorf("the sends' examples are of traces %v, want %v", examples, want)
	}
}

// TestASendGoesOnInItsTrace lets an event carry its send, and a letter what it carried before.
func TestASendGoesOnInItsTrace(t *testing.T) {
	t.Parallel()
	tracer, exported := provider()
	w := NewObservedWriter(Defaults(), nil, tracer)
	defer func() { _ = w.Close() }() // it sent nothing
	messages := []outbox.Message{
		{Topic: "events", Key: []byte("a"), Headers: carrying("a", recordedA).Headers},
		{Topic: "events", Key: []byte("c"), Headers: carrying("c", notC).Headers},
		{Topic: DeadLetters, Key: []byte("b"), Headers: carrying("b", recordedB).Headers},
	}
	sent := &batch{messages: slices.Clone(messages)}
	w.told.trace(t.Context(), []*batch{sent}).all.end(nil)
	out := sent.messages
	spans := exported.GetSpans()
	if len(spans) != 2 || spans[0].Name != "send events" || spans[0].SpanKind != trace.SpanKindProducer || spans[0].Parent.SpanID().String()[:2] != "0a" {
		t.Fatalf("spans %v", spans)
	}
	if got, want := string(out[0].Headers[1].Value), "00-0a000000000000000000000000000000-"+spans[0].SpanContext.SpanID().String()+"-01"; got != want {
		t.Errorf("the event carries %s, want %s", got, want)
	}
	if string(out[1].Headers[1].Value) != notC || string(out[2].Headers[1].Value) != recordedB {
		t.Errorf("the others carry %s and %s", out[1].Headers[1].Value, out[2].Headers[1].Value)
	}
	if string(messages[0].Headers[1].Value) != recordedA {
		t.Error("the row itself was changed: a second send would begin below the first")
	}
}
