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
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	nometric "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/trace"
	notrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/run"
)

// Config says how a service logs and how many of its traces are kept.
type Config struct {
	// LogLevel is debug, info, warn or error.
	LogLevel string `mapstructure:"log_level"`
	// LogFormat is json, or console for people.
	LogFormat string `mapstructure:"log_format"`
	// SampleRatio is the share of traces begun here that are recorded; a trace begun elsewhere keeps its beginner's choice.
	SampleRatio float64 `mapstructure:"trace_sample_ratio"`
	// Slow is how long a request may take before its trace is kept whatever the ratio, as those are that went wrong.
	Slow time.Duration `mapstructure:"trace_slow"`
	// Endpoint is where spans are sent by OTLP, http://host:4317 or https://…; empty for nowhere.
	Endpoint string `mapstructure:"otlp_endpoint" env:"OTEL_EXPORTER_OTLP_ENDPOINT"`
	// Protocol is grpc or http/protobuf.
	Protocol string `mapstructure:"otlp_protocol" env:"OTEL_EXPORTER_OTLP_PROTOCOL"`
	// Headers are sent along: key=value, separated by commas.
	Headers config.Secret `mapstructure:"otlp_headers" env:"OTEL_EXPORTER_OTLP_HEADERS"`
	// Resource is said of every span and metric beside what is known anyway: key=value, separated by commas.
	Resource string `mapstructure:"resource_attributes" env:"OTEL_RESOURCE_ATTRIBUTES"`
}

// Defaults are the settings of a service that was told nothing.
func Defaults() Config {
	return Config{LogLevel: "info", LogFormat: "json", SampleRatio: 0.01, Slow: 500 * time.Millisecond, Protocol: "grpc"}
}

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
	return append(bad, c.checkTraces()...)
}

func (c Config) checkTraces() []string {
	var bad []string
	if c.Slow <= 0 {
		bad = append(bad, fmt.Sprintf("trace_slow is %v: it must be more than 0", c.Slow))
	}
	if u, err := url.Parse(c.Endpoint); c.Endpoint != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		bad = append(bad, fmt.Sprintf("otlp_endpoint is %q: it must be http://host:port, or https:// for TLS", c.Endpoint))
	}
	if c.Protocol != "grpc" && c.Protocol != "http/protobuf" {
		bad = append(bad, fmt.Sprintf("otlp_protocol is %q: it must be grpc or http/protobuf", c.Protocol))
	}
	if _, err := pairs(c.Headers.Reveal()); err != nil {
		bad = append(bad, "otlp_headers: "+err.Error())
	}
	if _, err := pairs(c.Resource); err != nil {
		bad = append(bad, "resource_attributes: "+err.Error())
	}
	return bad
}

// Telemetry is handed to every part of a service.
type Telemetry struct {
	Log    *slog.Logger
	Meter  metric.MeterProvider
	Tracer trace.TracerProvider

	metrics http.Handler
	gather  prometheus.Gatherer
	config  Config
	stop    []func(context.Context) error
}

// New builds the telemetry of service; its log goes to stderr. The caller shuts it down.
func New(service string, cfg Config) (*Telemetry, error) { return NewTo(os.Stderr, service, cfg) }

// NewTo is New for a test that reads the log, which is written to to; all of it is there after Shutdown.
func NewTo(to io.Writer, service string, cfg Config) (_ *Telemetry, err error) {
	gathered := newLines(to)
	defer func() {
		if err != nil {
			gathered.close()
		}
	}()
	handler, err := logHandler(cfg, gathered)
	if err != nil {
		return nil, err
	}
	log := slog.New(handler).With("service", service)
	ctx := context.Background() // connecting waits for nobody
	of, err := about(ctx, service, cfg)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo())
	reader, err := exporter.New(exporter.WithRegisterer(registry), exporter.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("metrics exporter: %w", err)
	}
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithResource(of), sdkmetric.WithReader(reader), sdkmetric.WithView(seconds))
	tracer, err := newTracer(ctx, cfg, of, log)
	if err != nil {
		return nil, err
	}
	return &Telemetry{
		Log:     log,
		Meter:   meter,
		Tracer:  tracer,
		metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}),
		gather:  registry,
		config:  cfg,
		stop:    []func(context.Context) error{tracer.Shutdown, meter.Shutdown, func(context.Context) error { gathered.close(); return nil }},
	}, nil
}

// buildInfo says what runs, as a series that is always 1.
func buildInfo() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "floodgate_build_info", Help: "What runs here; always 1.",
		ConstLabels: prometheus.Labels{"version": run.Version(), "go_version": runtime.Version()},
	}, func() float64 { return 1 })
}

// seconds gives durations buckets that fit them. The libraries' own begin where most of ours have ended: at 5 seconds.
// Floodgate's own durations bring buckets with them.
func seconds(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
	if i.Kind != sdkmetric.InstrumentKindHistogram || i.Unit != "s" || strings.HasPrefix(i.Name, "floodgate.") {
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
		gather:  prometheus.NewRegistry(),
	}
}

// Handler serves the metrics for Prometheus.
func (t *Telemetry) Handler() http.Handler { return t.metrics }

// Gatherer reads the metrics within the process.
func (t *Telemetry) Gatherer() prometheus.Gatherer { return t.gather }

// Shutdown flushes what is not sent yet.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	for _, stop := range t.stop {
		errs = append(errs, stop(ctx))
	}
	return errors.Join(errs...)
}
