package accept_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/tracing"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/accept"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/gate"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// books is a truth whose answers a test writes.
type books struct {
	accept func(drafts []order.Draft) ([]order.Verdict, error)
	settle func(drafts []order.Draft) ([]*order.Verdict, error)
	lookup func(drafts []order.Draft) ([]*order.Verdict, error)

	mu      sync.Mutex
	batches [][]string          // the ids of each call of Accept; guarded by mu
	of      []trace.SpanContext // what each call's statements belong to; guarded by mu
}

// called notes whose trace a call belongs to.
func (b *books) called(ctx context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.of = append(b.of, trace.SpanContextFromContext(ctx))
}

func (b *books) Accept(ctx context.Context, drafts []order.Draft) ([]order.Verdict, error) {
	b.called(ctx)
	ids := make([]string, len(drafts))
	for i, d := range drafts {
		ids[i] = d.ID
	}
	b.mu.Lock()
	b.batches = append(b.batches, ids)
	b.mu.Unlock()
	return b.accept(drafts)
}

func (b *books) Settle(ctx context.Context, drafts []order.Draft) ([]*order.Verdict, error) {
	b.called(ctx)
	return b.settle(drafts)
}

func (b *books) LookupKeys(ctx context.Context, drafts []order.Draft) ([]*order.Verdict, error) {
	b.called(ctx)
	return b.lookup(drafts)
}

// door is a gate that counts what it let through and got back.
type door struct {
	full bool // refuses everybody

	mu    sync.Mutex
	held  int                 // guarded by mu
	asked int                 // guarded by mu
	of    []trace.SpanContext // what each visit belongs to; guarded by mu
}

func (d *door) TakeAll(ctx context.Context, orders []gate.Asking) []gate.Ticket {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.of = append(d.of, trace.SpanContextFromContext(ctx))
	d.held += len(orders)
	d.asked += len(orders)
	tickets := make([]gate.Ticket, len(orders))
	for i := range tickets {
		if d.full {
			tickets[i].Left = map[string]int64{"tea": 0}
		}
	}
	return tickets
}

func (d *door) GiveBack(context.Context, gate.Ticket) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held--
}

func (d *door) wantHeld(t *testing.T, n int) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held != n {
		t.Errorf("the gate holds %d orders as sold, want %d", d.held, n)
	}
}

// sell accepts every draft.
func sell(drafts []order.Draft) ([]order.Verdict, error) {
	verdicts := make([]order.Verdict, len(drafts))
	for i, d := range drafts {
		verdicts[i] = order.Verdict{Order: order.Order{ID: d.ID}}
	}
	return verdicts, nil
}

// bundle is a committer with everything around it, in a bubble of its own.
type bundle struct {
	*accept.Committer
	books *books
	door  *door
	woken int
	stop  func()

	meters *sdkmetric.ManualReader
	tracer *sdktrace.TracerProvider
	spans  *tracetest.InMemoryExporter
}

func setup(t *testing.T, queue int) *bundle {
	t.Helper()
	b := &bundle{books: &books{accept: sell}, door: &door{}, meters: sdkmetric.NewManualReader(), spans: tracetest.NewInMemoryExporter()}
	b.tracer = sdktrace.NewTracerProvider(sdktrace.WithSampler(tracing.Sampler(0)), sdktrace.WithSyncer(b.spans))
	c, err := accept.New(accept.Config{
		Books: b.books, Gate: b.door, SoldOut: gate.NewSoldOut(), Committers: 1, Queue: queue, Wake: func() { b.woken++ },
		Log: slog.New(slog.DiscardHandler), Tracer: b.tracer,
		Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(b.meters)),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Committer = c
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return b
}

// result is what Place said.
type result struct {
	order.Verdict
	err error
}

// place has orders placed one after the other, each in the queue before the next, and returns what they will hear.
func (b *bundle) place(ctx context.Context, ids ...string) []chan result {
	heard := make([]chan result, len(ids))
	for i, id := range ids {
		heard[i] = make(chan result, 1)
		go func() {
			v, err := b.Place(ctx, order.Draft{ID: id, UserID: "u"})
			heard[i] <- result{v, err}
		}()
		synctest.Wait()
	}
	return heard
}

// held makes the books wait until release is called.
func (b *bundle) held() (release func()) {
	then, open := b.books.accept, make(chan struct{})
	b.books.accept = func(drafts []order.Draft) ([]order.Verdict, error) {
		<-open
		return then(drafts)
	}
	return func() { close(open) }
}

func TestPlace(t *testing.T) {
	t.Parallel()
	in := func(name string, test func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { t.Parallel(); synctest.Test(t, test) })
	}

	in("OneAloneIsABatchOfOne", func(t *testing.T) {
		b := setup(t, 10)
		defer b.stop()
		if got := <-b.place(t.Context(), "a")[0]; got.err != nil || !got.Accepted() || got.Order.ID != "a" {
			t.Errorf("got %+v", got)
		}
		if b.woken != 1 {
			t.Errorf("the relay was woken %d times", b.woken)
		}
	})

	in("ThoseWhoWaitShareOneBatchInTheirOrder", func(t *testing.T) {
		b := setup(t, 10)
		defer b.stop()
		release := b.held()
		heard := b.place(t.Context(), "a", "b", "c", "d")
		release()
		for _, h := range heard {
			<-h
		}
		if got := fmt.Sprint(b.books.batches); got != "[[a] [b c d]]" {
			t.Errorf("batches %s", got)
		}
	})

	in("OneBadOrderFailsAlone", func(t *testing.T) {
		b := setup(t, 10)
		defer b.stop()
		bad := errors.New("a statement that this order broke")
		b.books.accept = func(drafts []order.Draft) ([]order.Verdict, error) {
			if slices.ContainsFunc(drafts, func(d order.Draft) bool { return d.ID == "bad" }) {
				return nil, bad
			}
			return sell(drafts)
		}
		release := b.held()
		heard := b.place(t.Context(), "first", "a", "b", "bad", "c", "d")
		release()
		for i, h := range heard {
			got := <-h
			if wantBad := i == 3; wantBad != errors.Is(got.err, bad) || !wantBad && !got.Accepted() {
				t.Errorf("order %d: %+v", i, got)
			}
		}
		b.stop()
		b.door.wantHeld(t, 5)
	})

	in("ADatabaseThatIsAwayIsNobodysFault", func(t *testing.T) {
		b := setup(t, 10)
		defer b.stop()
		b.books.accept = func([]order.Draft) ([]order.Verdict, error) { return nil, io.ErrUnexpectedEOF }
		release := b.held()
		heard := b.place(t.Context(), "a", "b", "c")
		release()
		for _, h := range heard {
			if got := <-h; !errors.Is(got.err, accept.ErrUnavailable) {
				t.Errorf("got %v", got.err)
			}
		}
		if got := fmt.Sprint(b.books.batches); got != "[[a] [b c]]" {
			t.Errorf("batches %s: a batch was split for nothing", got)
		}
		b.stop()
		b.door.wantHeld(t, 0)
	})

	in("AnUnknownCommitIsSettledUnderTheSameIDs", func(t *testing.T) {
		b := setup(t, 10)
		defer b.stop()
		commits, looks := 0, 0
		b.books.accept = func(drafts []order.Draft) ([]order.Verdict, error) {
			if commits++; commits == 2 {
				return nil, fmt.Errorf("commit: %w", database.ErrUnknownOutcome)
			}
			return sell(drafts)
		}
		b.books.settle = func(drafts []order.Draft) ([]*order.Verdict, error) {
			if looks++; looks < 5 {
				return nil, io.ErrUnexpectedEOF
			}
			stands := order.Verdict{Order: order.Order{ID: drafts[0].ID}}
			return []*order.Verdict{&stands, nil}, nil
		}
		release := b.held()
		heard := b.place(t.Context(), "first", "stands", "lost")
		release()
		for i, h := range heard {
			if got := <-h; got.err != nil || !got.Accepted() {
				t.Errorf("order %d: %+v", i, got)
			}
		}
		if got := fmt.Sprint(b.books.batches); got != "[[first] [stands lost] [lost]]" {
			t.Errorf("batches %s", got)
		}
		b.stop()
		b.door.wantHeld(t, 3)
	})

	in("OthersNeedNotWaitForACommitToBeSettled", func(t *testing.T) {
		b := setup(t, 10)
		b.books.accept = func(drafts []order.Draft) ([]order.Verdict, error) {
			if drafts[0].ID == "unknown" {
				return nil, database.ErrUnknownOutcome
			}
			return sell(drafts)
		}
		b.books.settle = func([]order.Draft) ([]*order.Verdict, error) { return nil, io.ErrUnexpectedEOF }
		unknown := b.place(t.Context(), "unknown")[0]
		if got := <-b.place(t.Context(), "next")[0]; !got.Accepted() {
			t.Errorf("next: %+v", got)
		}
		b.stop() // the database never says; the process may stop all the same
		if got := <-unknown; !errors.Is(got.err, accept.ErrUnavailable) {
			t.Errorf("unknown: %v", got.err)
		}
	})

	in("AFullQueueRefusesAtOnce", func(t *testing.T) {
		b := setup(t, 2)
		defer b.stop()
		release := b.held()
		heard := b.place(t.Context(), "working", "waits", "waits too", "one too many")
		if got := <-heard[3]; !errors.Is(got.err, accept.ErrOverloaded) {
			t.Errorf("got %v", got.err)
		}
		release()
		b.stop()
		b.door.wantHeld(t, 3)
	})

	in("ACallerWhoLeftIsSettledAllTheSame", func(t *testing.T) {
		b := setup(t, 10)
		soldOut := order.Verdict{Err: order.Short(map[string]int64{"tea": 0})}
		b.books.accept = func(drafts []order.Draft) ([]order.Verdict, error) {
			verdicts, err := sell(drafts)
			for i := range verdicts {
				if drafts[i].ID == "refused" {
					verdicts[i] = soldOut
				}
			}
			return verdicts, err
		}
		release := b.held()
		ctx, leave := context.WithCancel(t.Context())
		heard := b.place(ctx, "first", "sold", "refused")
		leave()
		for _, h := range heard {
			if got := <-h; !errors.Is(got.err, context.Canceled) {
				t.Errorf("got %+v", got)
			}
		}
		release()
		b.stop()
		b.door.wantHeld(t, 2)
	})

	in("StoppingSettlesWhatWaitsAndTakesNoMore", func(t *testing.T) {
		b := setup(t, 10)
		release := b.held()
		heard := b.place(t.Context(), "a", "b", "c")
		go b.stop()
		synctest.Wait()
		if _, err := b.Place(t.Context(), order.Draft{ID: "late"}); !errors.Is(err, accept.ErrUnavailable) {
			t.Errorf("a late order heard %v", err)
		}
		release()
		for i, h := range heard {
			if got := <-h; !got.Accepted() {
				t.Errorf("order %d: %+v", i, got)
			}
		}
		b.stop()
		b.door.wantHeld(t, 3)
	})
}

func TestRefusedAtTheGate(t *testing.T) {
	t.Parallel()
	isSoldOut := func(v order.Verdict) bool {
		var refusal *order.Error
		return errors.As(v.Err, &refusal) && refusal.Code == order.SoldOut
	}

	t.Run("WithoutAKeyItCostsNothing", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			b := setup(t, 10)
			defer b.stop()
			b.door.full = true
			if got := <-b.place(t.Context(), "a")[0]; !isSoldOut(got.Verdict) || len(b.books.batches) != 0 {
				t.Errorf("got %+v after %d batches", got, len(b.books.batches))
			}
		})
	})

	t.Run("ItIsRememberedBeforeTheGate", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			b := setup(t, 10)
			defer b.stop()
			b.door.full = true
			for range 100 {
				v, err := b.Place(t.Context(), order.Draft{ID: "a", UserID: "u", Lines: []order.Line{{SkuID: "tea", Quantity: 1}}})
				if err != nil || !isSoldOut(v) {
					t.Fatalf("%+v, %v", v, err)
				}
			}
			b.door.mu.Lock()
			defer b.door.mu.Unlock()
			if b.door.asked != 1 {
				t.Errorf("the gate was asked %d times", b.door.asked)
			}
		})
	})

	t.Run("AKeyIsLookedUpFirst", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			b := setup(t, 10)
			defer b.stop()
			b.door.full = true
			b.books.lookup = func(drafts []order.Draft) ([]*order.Verdict, error) {
				known := make([]*order.Verdict, len(drafts))
				for i, d := range drafts {
					if d.Key == "bound" {
						known[i] = &order.Verdict{Order: order.Order{ID: "of long ago"}, Replayed: true}
					}
				}
				return known, nil
			}
			v, err := b.Place(t.Context(), order.Draft{ID: "a", UserID: "u", Key: "bound"})
			if err != nil || !v.Replayed || v.Order.ID != "of long ago" {
				t.Errorf("bound: %+v, %v", v, err)
			}
			v, err = b.Place(t.Context(), order.Draft{ID: "b", UserID: "u", Key: "new"})
			if err != nil || !isSoldOut(v) {
				t.Errorf("new: %+v, %v", v, err)
			}
		})
	})
}
