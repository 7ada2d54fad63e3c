package shield

import (
	"log/slog"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// TestEveryBreakerIsToldOf compares the metric with the breakers there are: those built in, and one of an operator's own.
func TestEveryBreakerIsToldOf(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	s, err := New(Config{Rules: "breakers: [{resource: item/show, kind: errors, share: 0.5, at_least: 20, within: 10s, open: 1s}]"},
		Observers{Log: slog.New(slog.DiscardHandler), Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, m := range all.ScopeMetrics[0].Metrics {
		if gauge, is := m.Data.(metricdata.Gauge[int64]); is && m.Name == "floodgate.breaker.state" {
			for _, p := range gauge.DataPoints {
				name, _ := p.Attributes.Value("breaker")
				kind, _ := p.Attributes.Value("kind")
				told[name.AsString()+" "+kind.AsString()] = p.Value == int64(closed)
			}
		}
	}
	want := []string{"item/show errors"}
	for _, b := range builtIn() {
		want = append(want, b.Resource+" "+string(b.Kind))
	}
	for _, breaker := range want {
		if !told[breaker] {
			t.Errorf("nothing is told of the breaker %s: %v", breaker, told)
		}
	}
	if len(told) != len(want) {
		t.Errorf("told of %v, want %v", told, want)
	}
}
