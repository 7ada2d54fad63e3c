package redisdb

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

const scope = "github.com/floodgate-dev/floodgate/services/order-api/redisdb"

// Observe tells what commands to client take and how full its pool is. A command makes a span only where its trace is
// recorded; keys and values are told to nobody.
func Observe(client redis.UniversalClient, meter metric.MeterProvider, tracer trace.TracerProvider) error {
	m := meter.Meter(scope)
	duration, err := m.Float64Histogram("db.client.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("How long statements took, by their summary"))
	if err != nil {
		return err
	}
	client.AddHook(&hook{duration: duration, tracer: tracer.Tracer(scope)})
	return watchPool(client, m)
}

func watchPool(client redis.UniversalClient, m metric.Meter) error {
	count, err1 := m.Int64ObservableUpDownCounter("db.client.connection.count", metric.WithUnit("{connection}"),
		metric.WithDescription("Connections of the pool, by state"))
	timeouts, err2 := m.Int64ObservableCounter("db.client.connection.timeouts", metric.WithUnit("{timeout}"),
		metric.WithDescription("Times that no connection of the pool was free in time"))
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	pool := attribute.String("db.client.connection.pool.name", "redis")
	with := func(state string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(pool, attribute.String("db.client.connection.state", state)))
	}
	used, idle, all := with("used"), with("idle"), metric.WithAttributeSet(attribute.NewSet(pool))
	_, err := m.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		s := client.PoolStats()
		to.ObserveInt64(count, int64(s.TotalConns)-int64(s.IdleConns), used)
		to.ObserveInt64(count, int64(s.IdleConns), idle)
		to.ObserveInt64(timeouts, int64(s.Timeouts), all)
		return nil
	}, count, timeouts)
	return err
}

// hook sees every command.
type hook struct {
	duration metric.Float64Histogram
	tracer   trace.Tracer
	known    sync.Map // of []metric.RecordOption, by command
}

// DialHook leaves connecting alone.
func (h *hook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook sees one command.
func (h *hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		began, name := time.Now(), cmd.Name()
		ctx, span := h.begin(ctx, name)
		err := next(ctx, cmd)
		h.end(ctx, span, name, began, err)
		return err
	}
}

// ProcessPipelineHook sees commands that are sent together, as one.
func (h *hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		began := time.Now()
		ctx, span := h.begin(ctx, "pipeline")
		err := next(ctx, cmds)
		h.end(ctx, span, "pipeline", began, err)
		return err
	}
}

func attributes(command string) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("db.system.name", "redis"), attribute.String("db.operation.name", command),
		attribute.String("db.query.summary", command),
	}
}

func (h *hook) begin(ctx context.Context, command string) (context.Context, trace.Span) {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, nil
	}
	command = strings.ToUpper(command)
	return h.tracer.Start(ctx, command, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes(command)...))
}

func (h *hook) end(ctx context.Context, span trace.Span, command string, began time.Time, err error) {
	took, word := time.Since(began).Seconds(), errorType(err)
	if word == "" {
		h.duration.Record(ctx, took, h.of(command)...)
	} else {
		h.duration.Record(ctx, took, metric.WithAttributes(append(attributes(strings.ToUpper(command)), attribute.String("error.type", word))...))
	}
	if span == nil {
		return
	}
	if word != "" {
		span.SetStatus(codes.Error, word)
		span.SetAttributes(attribute.String("error.type", word))
	}
	span.End()
}

func (h *hook) of(command string) []metric.RecordOption {
	about, ok := h.known.Load(command)
	if !ok {
		about, _ = h.known.LoadOrStore(command, []metric.RecordOption{metric.WithAttributes(attributes(strings.ToUpper(command))...)})
	}
	return about.([]metric.RecordOption) //nolint:forcetypeassert // nothing else is stored
}

// errorType is "" for what is no failure: a key that is not there, a script that Redis has yet to learn.
func errorType(err error) string {
	var answered redis.Error
	switch {
	case err == nil, errors.Is(err, redis.Nil), redis.HasErrorPrefix(err, "NOSCRIPT"):
		return ""
	case errors.As(err, &answered):
		word, _, _ := strings.Cut(answered.Error(), " ")
		return word
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "unavailable"
}
