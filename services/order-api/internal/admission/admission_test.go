package admission_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/admission"
)

func lanes(t testing.TB, cfg admission.Config, log *slog.Logger) *admission.Lanes {
	t.Helper()
	r, err := admission.New(cfg, admission.Observers{Log: log, Meter: noop.NewMeterProvider()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A full lane refuses at once, has lane again as soon as one leaves, and takes nothing from another.
func TestALaneHasSoManyPlaces(t *testing.T) {
	t.Parallel()
	r := lanes(t, admission.Config{Orders: 2, Moves: 1, Reads: 1, Operators: 1, Streams: 1}, slog.New(slog.DiscardHandler))
	for i, want := range []bool{true, true, false, false} {
		if r.Orders.Enter() != want {
			t.Fatalf("of two places, request %d got one: %v", i+1, !want)
		}
	}
	for _, other := range []*admission.Lane{r.Moves, r.Reads, r.Operators, r.Streams} {
		if !other.Enter() {
			t.Error("a full lane takes places of another")
		}
	}
	r.Orders.Leave()
	for _, want := range []bool{true, false} {
		if r.Orders.Enter() != want {
			t.Error("who leaves leaves one place")
		}
	}
}

// Never more than there are places, however many come, and none is lost to those who were refused.
func TestNeverMoreThanThereArePlaces(t *testing.T) {
	t.Parallel()
	const places = 7
	lane := lanes(t, admission.Config{Orders: places}, slog.New(slog.DiscardHandler)).Orders
	var inside, most, served atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 2000 {
				if !lane.Enter() {
					continue
				}
				now := inside.Add(1)
				for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
				}
				served.Add(1)
				inside.Add(-1)
				lane.Leave()
			}
		})
	}
	wg.Wait()
	if most.Load() > places || served.Load() == 0 {
		t.Errorf("%d were inside at once, %d served", most.Load(), served.Load())
	}
	for i := range places {
		if !lane.Enter() {
			t.Fatalf("only %d places are left of %d", i, places)
		}
	}
}

// A crowd is one line a second in the log, not one each.
func TestAFullLaneIsSpokenOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		r := lanes(t, admission.Config{Orders: 1}, slog.New(slog.NewTextHandler(&out, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		for range 1001 {
			r.Orders.Enter()
		}
		<-time.After(3500 * time.Millisecond)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != 1 || !strings.Contains(lines[0], "refused=1000") {
			t.Errorf("the log says %q", lines)
		}
	})
}

func TestConfigComplains(t *testing.T) {
	t.Parallel()
	if bad := (admission.Config{Orders: -1, Moves: 1, Reads: 0, Operators: 1 << 30, Streams: 1}).Check(); len(bad) != 3 {
		t.Errorf("complaints %q, want three", bad)
	}
	if bad := admission.Defaults().Check(); bad != nil {
		t.Errorf("the defaults: %q", bad)
	}
}

func BenchmarkLane(b *testing.B) {
	r := lanes(b, admission.Config{Orders: 1}, slog.New(slog.DiscardHandler))
	b.Run("Enter", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if r.Orders.Enter() {
				r.Orders.Leave()
			}
		}
	})
	r.Orders.Enter()
	b.Run("Full", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Orders.Enter()
		}
	})
}
