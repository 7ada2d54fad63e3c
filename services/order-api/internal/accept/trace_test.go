package accept_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

const recorded = trace.FlagsSampled

// request is the context of one whose trace is called id.
func request(t testing.TB, id byte, flags trace.TraceFlags) context.Context {
	t.Helper()
	return trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{id}, SpanID: trace.SpanID{id}, TraceFlags: flags,
	}))
}

// together has orders placed that share a batch, behind one that is under way, and waits until all are answered. The first
// of requests is that one's.
func (b *bundle) together(requests ...context.Context) {
	release := b.held()
	var heard []chan result
	for i, ctx := range requests {
		heard = append(heard, b.place(ctx, fmt.Sprint("order ", i))...)
	}
	release()
	for _, h := range heard {
		<-h
	}
}

// named are the spans of that name in the order of their ends.
func (b *bundle) named(name string) (found []tracetest.SpanStub) {
	for _, s := range b.spans.GetSpans() {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}

// TestABatchThatNobodyRecordsBelongsToItsFirstOrder, so that a slow statement of it is told of in the trace of a request.
func TestABatchThatNobodyRecordsBelongsToItsFirstOrder(t *testing.T) {
	t.Parallel()
	in := func(name string, test func(t *testing.T, b *bundle)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := setup(t, 10)
				test(t, b)
				b.stop()
				if n := len(b.spans.GetSpans()); n > 0 {
					t.Errorf("%d spans, want none", n)
				}
			})
		})
	}
	belongs := func(t *testing.T, what string, of trace.SpanContext, id byte) {
		t.Helper()
		if of.TraceID() != (trace.TraceID{id}) || of.IsSampled() {
			t.Errorf("%s belongs to trace %v, recorded %v; want %d, not recorded", what, of.TraceID(), of.IsSampled(), id)
		}
	}

	in("ItsTransactionAndItsVisitOfTheGate", func(t *testing.T, b *bundle) {
		b.together(request(t, 1, 0), request(t, 2, 0), request(t, 3, 0))
		if len(b.books.of) != 2 || len(b.door.of) != 2 {
			t.Fatalf("%d transactions, %d visits of the gate, want 2", len(b.books.of), len(b.door.of))
		}
		for i, id := range []byte{1, 2} {
			belongs(t, "the transaction", b.books.of[i], id)
			belongs(t, "the visit of the gate", b.door.of[i], id)
		}
	})

	in("TheLookOfWhatBecameOfIt", func(t *testing.T, b *bundle) {
		b.books.accept = func([]order.Draft) ([]order.Verdict, error) { return nil, database.ErrUnknownOutcome }
		b.books.settle = func(drafts []order.Draft) ([]*order.Verdict, error) {
			return []*order.Verdict{{Order: order.Order{ID: drafts[0].ID}}}, nil
		}
		<-b.place(request(t, 1, 0), "a")[0]
		belongs(t, "the look", b.books.of[1], 1)
	})

	in("TheLookForItsKeys", func(t *testing.T, b *bundle) {
		b.door.full = true
		b.books.lookup = func([]order.Draft) ([]*order.Verdict, error) { return nil, io.ErrUnexpectedEOF }
		if _, err := b.Place(request(t, 1, 0), order.Draft{ID: "a", UserID: "u", Key: "k"}); err == nil {
			t.Error("nobody was told that the database is away")
		}
		belongs(t, "the look", b.books.of[0], 1)
	})

	in("NobodysRequestsAreNobodys", func(t *testing.T, b *bundle) {
		<-b.place(t.Context(), "a")[0]
		if b.books.of[0].IsValid() {
			t.Errorf("the transaction belongs to trace %v", b.books.of[0].TraceID())
		}
	})
}

// TestABatchIsLinkedToEachRecordedOrderInIt, and each of them to it, whoever else shares it.
func TestABatchIsLinkedToEachRecordedOrderInIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, 10)
		defer b.stop()
		requests := []context.Context{request(t, 1, 0), request(t, 2, 0)}
		for _, id := range []byte{3, 4} { // theirs are spans, so that their stages are recorded too
			ctx, span := b.tracer.Tracer("test").Start(request(t, id, recorded), "POST /orders")
			defer span.End()
			requests = append(requests, ctx)
		}
		b.together(requests...)
		first, second := trace.SpanContextFromContext(requests[2]), trace.SpanContextFromContext(requests[3])
		for _, name := range []string{"gate batch", "accept batch"} {
			spans := b.named(name)
			if len(spans) != 1 {
				t.Fatalf("%d spans called %s, want one: nobody records the order before", len(spans), name)
			}
			if s := spans[0]; s.Parent.SpanID() != first.SpanID() || !slices.Equal(linked(s), []trace.SpanID{first.SpanID(), second.SpanID()}) {
				t.Errorf("%s is below %v and linked to %v, want below %v, and linked to it and %v", name, s.Parent.SpanID(), linked(s), first.SpanID(), second.SpanID())
			}
		}
		batch, commits := b.named("accept batch")[0].SpanContext, b.named("commit")
		if len(commits) != 2 || !slices.ContainsFunc(b.books.of, batch.Equal) {
			t.Fatalf("%d orders waited for the batch, whose statements belong to %v", len(commits), b.books.of)
		}
		for _, s := range commits {
			if !slices.Equal(linked(s), []trace.SpanID{batch.SpanID()}) {
				t.Errorf("the commit of %v is linked to %v, want the batch %v", s.SpanContext.TraceID(), linked(s), batch.SpanID())
			}
		}
	})
}

func linked(s tracetest.SpanStub) (to []trace.SpanID) {
	for _, l := range s.Links {
		to = append(to, l.SpanContext.SpanID())
	}
	return to
}

// TestARecordedOrderIsTheExampleOfItsWaitAndItsBatch, whoever else waits and is written with it.
func TestARecordedOrderIsTheExampleOfItsWaitAndItsBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, 10)
		defer b.stop()
		b.together(request(t, 1, 0), request(t, 2, 0), request(t, 3, recorded), request(t, 4, 0))
		var told metricdata.ResourceMetrics
		if err := b.meters.Collect(t.Context(), &told); err != nil {
			t.Fatal(err)
		}
		examples := map[string]string{}
		for _, m := range told.ScopeMetrics[0].Metrics {
			switch of := m.Data.(type) {
			case metricdata.Histogram[int64]:
				examples[m.Name] = examplesOf(of)
			case metricdata.Histogram[float64]:
				examples[m.Name] = examplesOf(of)
			}
		}
		if want := (map[string]string{"floodgate.accept.batch.size": "3 at 3", "floodgate.accept.queue.wait": "3 at 0"}); !maps.Equal(examples, want) {
			t.Errorf("the examples are %v, want %v", examples, want)
		}
	})
}

// examplesOf are the first bytes of the traces of h's examples, and their values.
func examplesOf[N int64 | float64](h metricdata.Histogram[N]) string {
	var all []string
	for _, e := range h.DataPoints[0].Exemplars {
		all = append(all, fmt.Sprint(e.TraceID[0], " at ", e.Value))
	}
	return strings.Join(all, ", ")
}
