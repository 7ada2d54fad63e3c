package database

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// BenchmarkStatement is what observing costs a statement whose trace is not recorded.
func BenchmarkStatement(b *testing.B) {
	reader, err := exporter.New(exporter.WithRegisterer(prometheus.NewRegistry()))
	if err != nil {
		b.Fatal(err)
	}
	o, err := newObserver("postgresql", "test", Defaults(), Observers{
		Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), Tracer: sdktrace.NewTracerProvider(),
	})
	if err != nil {
		b.Fatal(err)
	}
	const text = `WITH v(id) AS (SELECT * FROM unnest($1::text[])) SELECT o.* FROM v JOIN orders o ON o.id = v.id`
	a, ctx := &asked{}, context.Background()
	b.ReportAllocs()
	for b.Loop() {
		a.what, a.sql = o.statements.of(text), text
		o.end(o.begin(ctx, a), a, nil)
	}
}
