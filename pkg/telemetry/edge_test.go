package telemetry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

func TestADoorMeasuresItsAnswersByRoute(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t, Defaults())
	e, err := tel.Edge()
	must(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /letters/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	door := e.Handler(mux)
	for _, path := range []string{"/letters/1", "/letters/2", "/elsewhere"} {
		door.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
	}
	text := scrape(tel)
	for _, want := range []string{
		`http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="418",http_route="/letters/{id}",url_scheme="http"} 2`,
		`http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="404",url_scheme="http"} 1`,
		`http_server_active_requests{http_request_method="GET",url_scheme="http"} 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s\n%s", want, text)
		}
	}
}

// TestARecordedRequestIsTheExampleOfItsBucket, also one that is recorded only because it went wrong.
func TestARecordedRequestIsTheExampleOfItsBucket(t *testing.T) {
	t.Parallel()
	cfg := Defaults()
	cfg.Endpoint, cfg.SampleRatio = "http://127.0.0.1:1", 0
	tel, err := NewTo(io.Discard, "points", cfg) // nobody takes its spans: Shutdown would say so
	must(t, err)
	e, err := tel.Edge()
	must(t, err)
	ask := func(status int, parent string) string {
		r := e.Arrive(t.Context(), http.MethodGet, http.Header{"Traceparent": {parent}})
		r.Leave("/letters", status, false)
		return trace.SpanContextFromContext(r.Context).TraceID().String()
	}
	fine, recorded := ask(http.StatusOK, ""), ask(http.StatusOK, "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01")
	wrong := ask(http.StatusInternalServerError, "")

	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	tel.Handler().ServeHTTP(w, r)
	for status, id := range map[string]string{"200": recorded, "500": wrong} {
		example := regexp.MustCompile(`http_server_request_duration_seconds_bucket{.*http_response_status_code="` + status + `".*} \d+ # {.*trace_id="` + id + `".*}`)
		if !example.MatchString(w.Body.String()) {
			t.Errorf("%s is no example of the requests answered %s:\n%s", id, status, w.Body)
		}
	}
	if strings.Contains(w.Body.String(), fine) {
		t.Error("a request that nobody recorded is an example: its trace is nowhere")
	}
}

// BenchmarkDoor is what measuring and tracing cost a request that is not recorded, with the real meter.
func BenchmarkDoor(b *testing.B) {
	cfg := Defaults()
	cfg.Endpoint, cfg.SampleRatio = "http://127.0.0.1:1", 0
	tel, err := NewTo(&strings.Builder{}, "points", cfg)
	if err != nil {
		b.Fatal(err)
	}
	e, err := tel.Edge()
	if err != nil {
		b.Fatal(err)
	}
	header, ctx := http.Header{}, b.Context()
	b.ReportAllocs()
	for b.Loop() {
		r := e.Arrive(ctx, http.MethodPost, header)
		r.Leave("/api/v1/orders", http.StatusCreated, false)
	}
}
