package tracing

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// edge is a door whose spans the test sees, with a share of the requests recorded.
func edge(t testing.TB, share float64) (*Edge, *tracetest.InMemoryExporter) {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithIDGenerator(Names{}), sdktrace.WithSampler(Sampler(share)), sdktrace.WithSyncer(spans))
	e := &Edge{Share: share, Slow: time.Second, Tracer: provider}
	return e, spans
}

func none() []attribute.KeyValue { return nil }

// ask lets one request take so long and be answered with status; it has three stages, the last done for many at once.
func ask(e *Edge, header http.Header, took time.Duration, status int) trace.SpanContext {
	r := e.Arrive(context.Background(), header)
	ctx := r.Context
	_, stage := Begin(ctx, "gate")
	<-time.After(took) // of the test's own clock
	stage.End()
	SoFar(ctx, "middleware")
	link := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{7}, SpanID: trace.SpanID{7}})
	Told(ctx, "commit", time.Now(), time.Now(), &link)
	r.Leave(Answer{Name: func() string { return "POST /orders" }, Status: status, Attributes: none}, time.Since(r.Began))
	return trace.SpanContextFromContext(ctx)
}

func TestOnlyWhatIsSampledSlowOrWrongIsKept(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		share  float64
		took   time.Duration
		status int
		caller string
		kept   bool
	}{
		"Fine":                           {0, 0, 201, "", false},
		"Refused":                        {0, 0, 409, "", false},
		"Wrong":                          {0, 0, 500, "", true},
		"Slow":                           {0, time.Second, 201, "", true},
		"OfTheShare":                     {1, 0, 201, "", true},
		"TheCallerRecords":               {0, 0, 201, "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01", true},
		"TheCallerDoesNot":               {1, 0, 201, "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-00", false},
		"TheCallerDoesNotButItIsWrong":   {0, 0, 503, "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-00", true},
		"TheCallerSaysWhatNobodyCanRead": {0, 0, 201, "nonsense", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e, exported := edge(t, c.share)
				header := http.Header{}
				if c.caller != "" {
					header.Set("traceparent", c.caller)
				}
				named := ask(e, header, c.took, c.status)
				spans := exported.GetSpans()
				if !named.IsValid() || (len(spans) > 0) != c.kept {
					t.Fatalf("%d spans of %v", len(spans), named)
				}
				if c.kept {
					whole(t, spans, named, c.took)
				}
				if len(c.caller) > 10 && named.TraceID().String() != "0102030405060708090a0b0c0d0e0f10" {
					t.Errorf("the trace is %s, not the caller's", named.TraceID())
				}
			})
		})
	}
}

// whole checks a request's tree: the root has the name that the log knew, the stages stand below it.
func whole(t *testing.T, spans tracetest.SpanStubs, named trace.SpanContext, took time.Duration) {
	t.Helper()
	byName := map[string]tracetest.SpanStub{}
	for _, s := range spans {
		byName[s.Name] = s
	}
	root, gate, commit, door := byName["POST /orders"], byName["gate"], byName["commit"], byName["middleware"]
	if len(spans) != 4 || root.SpanContext.SpanID() != named.SpanID() || root.SpanContext.TraceID() != named.TraceID() {
		t.Fatalf("spans %v, root %v, named %v", byName, root.SpanContext, named)
	}
	if root.SpanKind != trace.SpanKindServer || gate.Parent.SpanID() != named.SpanID() || commit.Parent.SpanID() != named.SpanID() {
		t.Errorf("the tree is wrong: %v", spans)
	}
	if gate.EndTime.Sub(gate.StartTime) != took || root.EndTime.Sub(root.StartTime) != took {
		t.Errorf("gate took %v, the request %v, want %v", gate.EndTime.Sub(gate.StartTime), root.EndTime.Sub(root.StartTime), took)
	}
	if !door.StartTime.Equal(root.StartTime) || door.EndTime.Sub(door.StartTime) != took || door.Parent.SpanID() != named.SpanID() {
		t.Errorf("middleware lasted from %v to %v, want %v from %v on", door.StartTime, door.EndTime, took, root.StartTime)
	}
	if len(commit.Links) != 1 || commit.Links[0].SpanContext.SpanID() != (trace.SpanID{7}) {
		t.Errorf("commit is linked to %v", commit.Links)
	}
}

func TestAnOutageDoesNotFloodTheCollector(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, exported := edge(t, 0)
		for range 3 * keptASecond {
			ask(e, nil, 0, 500)
		}
		if n := len(exported.GetSpans()); n != 4*keptASecond {
			t.Errorf("%d spans, want those of %d requests", n, keptASecond)
		}
		<-time.After(time.Second)
		exported.Reset()
		if ask(e, nil, 0, 500); len(exported.GetSpans()) != 4 {
			t.Error("the next second keeps none")
		}
	})
}

// BenchmarkUnsampled is what tracing costs a request that is not recorded: arriving, five stages, leaving.
func BenchmarkUnsampled(b *testing.B) {
	e, _ := edge(b, 0)
	header := http.Header{}
	now, ctx := time.Now(), b.Context()
	name := func() string { return "POST /orders" }
	b.ReportAllocs()
	for b.Loop() {
		r := e.Arrive(ctx, header)
		SoFar(r.Context, "middleware")
		_, item := Begin(r.Context, "item")
		item.End()
		_, gate := Begin(r.Context, "gate")
		gate.End()
		Told(r.Context, "queue", now, now, nil)
		Told(r.Context, "commit", now, now, nil)
		r.Leave(Answer{Name: name, Status: http.StatusCreated, Attributes: none}, time.Since(r.Began))
	}
}
