package telemetry

import (
	"context"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

func level(name string) (slog.Level, error) {
	switch name {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("log_level %q is unknown", name)
}

func logHandler(cfg Config, w *lines) (slog.Handler, error) {
	least, err := level(cfg.LogLevel)
	if err != nil {
		return nil, err
	}
	switch cfg.LogFormat {
	case "json":
		return traced{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: least}), w}, nil
	case "console":
		return traced{slog.NewTextHandler(w, &slog.HandlerOptions{Level: least, ReplaceAttr: shortTime}), w}, nil
	}
	return nil, fmt.Errorf("log_format %q is unknown", cfg.LogFormat)
}

// shortTime leaves the date away: who reads a console knows what day it is.
func shortTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.String(slog.TimeKey, a.Value.Time().Format("15:04:05.000"))
	}
	return a
}

// traced adds the ids of the trace that a line belongs to. An error is written before who logs it goes on: what comes
// next may be the end of the process.
type traced struct {
	slog.Handler
	lines *lines
}

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelError {
		h.lines.flush()
	}
	return err
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler {
	return traced{h.Handler.WithAttrs(attrs), h.lines}
}

func (h traced) WithGroup(name string) slog.Handler {
	return traced{h.Handler.WithGroup(name), h.lines}
}
