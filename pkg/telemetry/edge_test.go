package telemetry

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
