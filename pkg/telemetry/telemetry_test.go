package telemetry

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

func setup(t *testing.T, cfg Config) (*Telemetry, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	tel, err := NewTo(&log, "points", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tel.Shutdown(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return tel, &log
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func scrape(tel *Telemetry) string {
	w := httptest.NewRecorder()
	tel.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

func TestLogNamesServiceAndTrace(t *testing.T) {
	t.Parallel()
	cfg := Defaults()
	cfg.SampleRatio = 0 // also a trace that is not kept has a name
	tel, log := setup(t, cfg)
	ctx, span := tel.Tracer.Tracer("test").Start(t.Context(), "work")
	defer span.End()
	tel.Log.With("order", "o-1").InfoContext(ctx, "booked")
	tel.Log.DebugContext(ctx, "not said")
	must(t, tel.Shutdown(t.Context())) // writes what waits
	var line map[string]any
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("the log is not one line of JSON: %v\n%s", err, log)
	}
	for key, want := range map[string]string{
		"level": "INFO", "msg": "booked", "service": "points", "order": "o-1",
		"trace_id": span.SpanContext().TraceID().String(), "span_id": span.SpanContext().SpanID().String(),
	} {
		if line[key] != want {
			t.Errorf("%s = %v, want %q", key, line[key], want)
		}
	}
}

func TestConsoleIsForPeople(t *testing.T) {
	t.Parallel()
	tel, log := setup(t, Config{LogLevel: "debug", LogFormat: "console"})
	tel.Log.Debug("booked", "order", "o-1")
	must(t, tel.Shutdown(t.Context()))
	if !strings.Contains(log.String(), `level=DEBUG msg=booked service=points order=o-1`) {
		t.Errorf("log = %s", log)
	}
}

func TestDurationsHaveBucketsThatFit(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t, Defaults())
	meter := tel.Meter.Meter("test")
	seconds, err := meter.Float64Histogram("order.accept.duration", metric.WithUnit("s"))
	if err != nil {
		t.Fatal(err)
	}
	lines, err := meter.Int64Histogram("order.lines", metric.WithUnit("{line}"))
	if err != nil {
		t.Fatal(err)
	}
	seconds.Record(t.Context(), 0.004)
	lines.Record(t.Context(), 3)
	text := scrape(tel)
	for _, want := range []string{
		`order_accept_duration_seconds_bucket{le="0.005"} 1`, `order_accept_duration_seconds_bucket{le="10"} 1`,
		`order_lines_bucket{le="1000"} 1`, `service_name="points"`, "go_goroutines", "process_resident_memory_bytes",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if strings.Contains(text, "otel_scope") {
		t.Error("the metrics name their scope, three labels a series")
	}
}

func TestTheBeginnerOfATraceDecides(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t, Config{LogLevel: "info", LogFormat: "json", Slow: time.Second, Endpoint: "http://127.0.0.1:1", Protocol: "grpc"})
	begun := trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled, Remote: true,
	}))
	_, kept := tel.Tracer.Tracer("test").Start(begun, "work")
	_, dropped := tel.Tracer.Tracer("test").Start(t.Context(), "work")
	if !kept.IsRecording() || dropped.IsRecording() {
		t.Errorf("recording: begun elsewhere %v, begun here %v; want true and false", kept.IsRecording(), dropped.IsRecording())
	}
}

func TestSettingsAreChecked(t *testing.T) {
	t.Parallel()
	if bad := Defaults().Check(); bad != nil {
		t.Errorf("the defaults are refused: %q", bad)
	}
	wrong := Config{
		LogLevel: "loud", LogFormat: "xml", SampleRatio: 2, Endpoint: "127.0.0.1:4317", Protocol: "http/json", Headers: "secret", Resource: "=x",
	}
	if bad := wrong.Check(); len(bad) != 8 {
		t.Errorf("complaints = %q, want 8", bad)
	}
	if _, err := New("points", wrong); err == nil {
		t.Error("New took them")
	}
}

func TestDiscardCanBeUsed(t *testing.T) {
	t.Parallel()
	tel := Discard()
	_, span := tel.Tracer.Tracer("test").Start(t.Context(), "work")
	span.End()
	if _, err := tel.Meter.Meter("test").Int64Counter("orders"); err != nil {
		t.Error(err)
	}
	tel.Log.Info("nothing")
	_ = scrape(tel)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
