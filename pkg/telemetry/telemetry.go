// Package telemetry builds what a service tells about itself: its log, its metrics, its traces.
//
// It is built once and handed down; nothing of it is global. It promises that every line of the log which belongs to a
// trace names it, and that durations are in seconds with buckets from 5 ms to 10 s.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	nometric "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	notrace "go.opentelemetry.io/otel/trace/noop"
)

// Config says how a service logs and how many of its traces are kept.
type Config struct {
	// LogLevel is debug, info, warn or error.
	LogLevel string `mapstructure:"log_level"`
	// LogFormat is json, or console for people.
	LogFormat string `mapstructure:"log_format"`
	// SampleRatio is the share of traces begun here that are recorded; a trace begun elsewhere keeps its beginner's choice.
	SampleRatio float64 `mapstructure:"trace_sample_ratio"`
}

// Defaults are the settings of a service that was told nothing.
func Defaults() Config { return Config{LogLevel: "info", LogFormat: "json", SampleRatio: 0.1} }

// Check says what is wrong with c, all at once; nil when nothing is.
func (c Config) Check() []string {
	var bad []string
	if _, err := level(c.LogLevel); err != nil {
		bad = append(bad, fmt.Sprintf("log_level is %q: it must be debug, info, warn or error", c.LogLevel))
	}
	if c.LogFormat != "json" && c.LogFormat != "console" {
		bad = append(bad, fmt.Sprintf("log_format is %q: it must be json or console", c.LogFormat))
	}
	if c.SampleRatio < 0 || c.SampleRatio > 1 {
		bad = append(bad, fmt.Sprintf("trace_sample_ratio is %v: it must be between 0 and 1", c.SampleRatio))
	}
	return bad
}

// Telemetry is handed to every part of a service.
type Telemetry struct {
	Log    *slog.Logger
	Meter  metric.MeterProvider
	Tracer trace.TracerProvider

	metrics http.Handler
	stop    []func(context.Context) error
}

// New builds the telemetry of service; its log goes to stderr. The caller shuts it down.
func New(service string, cfg Config) (*Telemetry, error) { return build(service, cfg, os.Stderr) }

func build(service string, cfg Config, log io.Writer) (*Telemetry, error) {
	gathered := newLines(log)
	handler, err := logHandler(cfg, gathered)
	if err != nil {
		gathered.close()
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reader, err := exporter.New(exporter.WithRegisterer(registry), exporter.WithoutScopeInfo())
	if err != nil {
		gathered.close()
		return nil, fmt.Errorf("metrics exporter: %w", err)
	}
	about := resource.NewSchemaless(attribute.String("service.name", service))
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithResource(about), sdkmetric.WithReader(reader), sdkmetric.WithView(seconds))
	tracer := sdktrace.NewTracerProvider(sdktrace.WithResource(about),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.SampleRatio))))
	return &Telemetry{
		Log:     slog.New(handler).With("service", service),
		Meter:   meter,
		Tracer:  tracer,
		metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		stop:    []func(context.Context) error{tracer.Shutdown, meter.Shutdown, func(context.Context) error { gathered.close(); return nil }},
	}, nil
}

// seconds gives durations buckets that fit them. The library's own begin where most of ours have ended: at 5 seconds.
func seconds(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
	if i.Kind != sdkmetric.InstrumentKindHistogram || i.Unit != "s" {
		return sdkmetric.Stream{}, false
	}
	return sdkmetric.Stream{
		Name: i.Name, Description: i.Description, Unit: i.Unit,
		Aggregation: sdkmetric.AggregationExplicitBucketHistogram{
			Boundaries: []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10},
		},
	}, true
}

// Discard is telemetry that goes nowhere, for tests.
func Discard() *Telemetry {
	return &Telemetry{
		Log:     slog.New(slog.DiscardHandler),
		Meter:   nometric.NewMeterProvider(),
		Tracer:  notrace.NewTracerProvider(),
		metrics: http.NotFoundHandler(),
	}
}

// Handler serves the metrics for Prometheus.
func (t *Telemetry) Handler() http.Handler { return t.metrics }

// Shutdown flushes what is not sent yet.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	for _, stop := range t.stop {
		errs = append(errs, stop(ctx))
	}
	return errors.Join(errs...)
}
