package gate_test

import (
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/redistest"
)

// told is what the gate's counters say, by name and direction.
func told(t *testing.T, reader sdkmetric.Reader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	values := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, is := m.Data.(metricdata.Sum[int64])
			for _, p := range sum.DataPoints {
				direction, _ := p.Attributes.Value("direction")
				values[m.Name+" "+direction.AsString()] = p.Value
			}
			if !is {
				t.Errorf("%s is no counter", m.Name)
			}
		}
	}
	return values
}

// What the resync found is told: how many counters were wrong, by how many units, and in which direction.
func TestTheResyncTellsWhatItFound(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	reader := sdkmetric.NewManualReader()
	on := at(server.Addr)
	on.meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	b := setup(t, on)
	wants := func(when string, want map[string]int64) {
		t.Helper()
		got := told(t, reader)
		for name, value := range got {
			if value != want[name] {
				t.Errorf("%s: %s is %d, want %d", when, name, value, want[name])
			}
		}
		for name := range want {
			if _, is := got[name]; !is {
				t.Errorf("%s: nothing is told of %s", when, name)
			}
		}
	}
	before := b.Take(t.Context(), "before", lines("tea", 1))
	b.shelf.set("tea", 1000)
	b.Changed(t.Context(), "tea") // a delivery is no drift, nor is what was taken away
	b.shelf.set("tea", 10)
	b.Changed(t.Context(), "tea")
	wants("nothing is wrong", map[string]int64{})
	b.run(t)
	for _, wrong := range []int{1000, 4} { // each was sold once, and nobody took anything from the gate since
		if err := b.redis.Set(t.Context(), "stock:{tea}", wrong, 0).Err(); err != nil {
			t.Fatal(err)
		}
		b.eventually(t, "tea", 10)
	}
	b.GiveBack(t.Context(), before)
	want := map[string]int64{
		"floodgate.gate.corrections lowered": 1, "floodgate.gate.drift lowered": 990,
		"floodgate.gate.corrections raised": 1, "floodgate.gate.drift raised": 6, "floodgate.gate.stale ": 1,
	}
	wants("corrected twice", want)
	server.Stop()
	b.Take(t.Context(), "away", lines("tea", 1))
	want["floodgate.gate.bypassed "] = 1
	wants("Redis is away", want)
}
