package telemetry

import (
	"context"
	"fmt"
	"io"
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

func logHandler(cfg Config, w io.Writer) (slog.Handler, error) {
	least, err := level(cfg.LogLevel)
	if err != nil {
		return nil, err
	}
	switch cfg.LogFormat {
	case "json":
		return traced{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: least})}, nil
	case "console":
		return traced{slog.NewTextHandler(w, &slog.HandlerOptions{Level: least, ReplaceAttr: shortTime})}, nil
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

// traced adds the ids of the trace that a line belongs to.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }

func (h traced) WithGroup(name string) slog.Handler { return traced{h.Handler.WithGroup(name)} }
