package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/pkg/tracing"
)

// about is what every metric and every span says of the process.
func about(ctx context.Context, service string, cfg Config) (*resource.Resource, error) {
	own, err := pairs(cfg.Resource)
	if err != nil {
		return nil, fmt.Errorf("resource_attributes: %w", err)
	}
	host, _ := os.Hostname() // a host without a name has none
	attributes := []attribute.KeyValue{
		semconv.ServiceNamespace("floodgate"), semconv.ServiceName(service), semconv.ServiceVersion(run.Version()),
		semconv.ServiceInstanceID(fmt.Sprintf("%s-%d-%08x", host, os.Getpid(), rand.Uint32())), //nolint:gosec // a name, not a secret
		semconv.HostName(host),
	}
	for key, value := range own {
		attributes = append(attributes, attribute.String(key, value))
	}
	return resource.New(ctx, resource.WithAttributes(attributes...),
		resource.WithProcessRuntimeName(), resource.WithProcessRuntimeVersion())
}

// pairs reads "key=value,key=value", values percent-encoded, as the standard's variables are written.
func pairs(text string) (map[string]string, error) {
	all := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		key, value, found := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if key = strings.TrimSpace(key); !found || key == "" || err != nil {
			return nil, fmt.Errorf("write key=value, separated by commas")
		}
		all[key] = value
	}
	return all, nil
}

// exporting returns the exporter that cfg asks for.
func exporting(ctx context.Context, cfg Config) (sdktrace.SpanExporter, error) {
	headers, err := pairs(cfg.Headers.Reveal())
	if err != nil {
		return nil, fmt.Errorf("otlp_headers: %w", err)
	}
	if cfg.Protocol == "grpc" {
		return otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(cfg.Endpoint), otlptracegrpc.WithHeaders(headers))
	}
	endpoint, err := url.Parse(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("otlp_endpoint: %w", err)
	}
	if endpoint.Path == "" || endpoint.Path == "/" { // the standard's variable names the base
		endpoint.Path = "/v1/traces"
	}
	return otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint.String()), otlptracehttp.WithHeaders(headers))
}

// newTracer returns a provider that records what is sampled and sends it to cfg's endpoint. Without an endpoint nothing is
// sampled, for nobody would see it; traces still have names, for the log.
func newTracer(ctx context.Context, cfg Config, of *resource.Resource, log *slog.Logger) (*sdktrace.TracerProvider, error) {
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(of), sdktrace.WithIDGenerator(tracing.Names{})}
	if cfg.Endpoint == "" {
		return sdktrace.NewTracerProvider(append(options, sdktrace.WithSampler(sdktrace.NeverSample()))...), nil
	}
	exporter, err := exporting(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("traces exporter: %w", err)
	}
	return sdktrace.NewTracerProvider(append(options,
		sdktrace.WithSampler(tracing.Sampler(cfg.SampleRatio)),
		sdktrace.WithBatcher(&patient{SpanExporter: exporter, log: log}))...), nil
}

// patient exports, and says once that nobody takes the spans, and once that somebody does again. Spans that nobody took
// are lost: they are never worth a request's time.
type patient struct {
	sdktrace.SpanExporter

	log     *slog.Logger
	failing atomic.Bool
}

// ExportSpans sends spans.
func (p *patient) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := p.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil && !p.failing.Swap(true):
		p.log.WarnContext(ctx, "spans are lost: nobody takes them at otlp_endpoint", "spans", len(spans), "error", err)
	case err == nil && p.failing.Swap(false):
		p.log.InfoContext(ctx, "spans are taken again")
	}
	return nil
}
