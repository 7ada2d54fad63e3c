package overview

import (
	"context"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// sale is a page over meters that a test moves.
type sale struct {
	page            *Page
	now             time.Time
	accepted        prometheus.Counter
	refused         *prometheus.CounterVec
	answer          *prometheus.HistogramVec
	backlog, oldest prometheus.Gauge
	stuck           *prometheus.GaugeVec
	wait, size      prometheus.Histogram
	drift           *prometheus.CounterVec
	meters          *prometheus.Registry
}

func open(t testing.TB) *sale {
	t.Helper()
	s := &sale{
		now: time.UnixMilli(1_700_000_000_000), meters: prometheus.NewRegistry(),
		accepted: prometheus.NewCounter(prometheus.CounterOpts{Name: "floodgate_orders_accepted_total"}),
		refused:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "floodgate_orders_refused_total"}, []string{"reason"}),
		answer: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "http_server_request_duration_seconds", Buckets: []float64{.005, .01, .1, 1}},
			[]string{"http_request_method", "http_route", "http_response_status_code"}),
		wait:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "floodgate_accept_queue_wait_seconds", Buckets: []float64{.001, .01}}),
		size:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "floodgate_accept_batch_size", Buckets: []float64{1, 8}}),
		drift:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "floodgate_gate_drift_total"}, []string{"direction"}),
		backlog: prometheus.NewGauge(prometheus.GaugeOpts{Name: "floodgate_outbox_backlog"}),
		oldest:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "floodgate_outbox_oldest_age_seconds"}),
		stuck:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "floodgate_orders_stuck"}, []string{"state"}),
	}
	s.meters.MustRegister(s.accepted, s.refused, s.answer, s.wait, s.size, s.drift)
	s.page = New(Config{Meters: s.meters, Name: "pod-7", Log: slog.New(slog.DiscardHandler)})
	return s
}

// second lets one pass.
func (s *sale) second() {
	s.now = s.now.Add(time.Second)
	s.page.look(context.Background(), s.now)
}

func (s *sale) get(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}

func TestNumbersAreThoseOfTheLastSeconds(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.accepted.Add(1000) // before anybody looked
	s.refused.WithLabelValues("overloaded").Add(0)
	s.answer.WithLabelValues("GET", "/api/v1/orders", "200").Observe(.9)
	s.second()
	for range 60 {
		s.second() // a quiet minute
	}
	for range steady {
		s.accepted.Add(40)
		s.refused.WithLabelValues("sold-out").Add(3)
		s.refused.WithLabelValues("limit-reached").Add(1)
		for range 99 {
			s.answer.WithLabelValues("POST", "/api/v1/orders", "201").Observe(.002)
		}
		s.answer.WithLabelValues("POST", "/api/v1/orders", "409").Observe(.05)
		s.wait.Observe(.0005)
		s.size.Observe(20)
		s.drift.WithLabelValues("raised").Add(2)
		s.second()
	}
	v := s.page.view()
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-6*math.Max(1, want) {
			t.Errorf("%s = %v, want %v", what, got, want)
		}
	}
	near("accepted a second", v.Now.Accepted, 40)
	near("refused a second", v.Now.Refused, 4)
	near("accepted in all", v.Now.Total, 1400)
	near("refused in all", v.Now.Turned, 40)
	near("p50", v.Now.P50, .005*500/990)
	near("p99", v.Now.P99, .005)
	near("wait p50", v.Now.WaitP50, .0005)
	near("batch", v.Now.Batch, 20)
	near("raised", v.Now.Raised, 20)
	near("top of the orders' chart", v.Charts["orders"].Top, 50)
	if !math.IsNaN(v.Now.Backlog) || v.Told || v.Now.Drifted || v.Now.Slow || v.Ago != "1:10 min ago" {
		t.Errorf("backlog %v, stuck told %v, drifted %v, slow %v, %s", v.Now.Backlog, v.Told, v.Now.Drifted, v.Now.Slow, v.Ago)
	}
	names := []string{}
	for _, r := range v.Refused {
		names = append(names, r.Name)
	}
	if !slices.Equal(names, []string{"sold-out", "limit-reached"}) || v.Refused[1].Share != 100.0/3 {
		t.Errorf("refused for %+v", v.Refused)
	}
}

func TestWhatNeedsALookIsSaid(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.meters.MustRegister(s.backlog, s.oldest, s.stuck)
	s.second()
	s.stuck.WithLabelValues("created").Set(0)
	s.second()
	_, calm := s.get(t, "/live")
	if strings.Contains(calm, `class="look"`) {
		t.Errorf("a quiet sale needs no look:\n%s", calm)
	}
	s.backlog.Set(12345)
	s.oldest.Set(31)
	s.stuck.WithLabelValues("created").Set(2)
	for range 10 {
		s.answer.WithLabelValues("POST", "/api/v1/orders", "201").Observe(.9)
	}
	s.drift.WithLabelValues("lowered").Add(61)
	s.second()
	_, busy := s.get(t, "/live")
	for _, says := range []string{"slow</strong>", "behind</strong>", "look</strong>", "corrected</strong>", "12\u202f345", "31.0\u202fs"} {
		if !strings.Contains(busy, says) {
			t.Errorf("the page does not say %q:\n%s", says, busy)
		}
	}
}

func TestTheWholePageAndItsParts(t *testing.T) {
	t.Parallel()
	s := open(t)
	_, body := s.get(t, "/")
	if !strings.Contains(body, "Nothing was measured yet") || !strings.Contains(body, "pod-7") {
		t.Errorf("before the first look: %s", body)
	}
	s.refused.WithLabelValues(`<script>"&`).Inc()
	s.second()
	s.second()
	for path, says := range map[string]string{
		"/": "<!doctype html>", "/live": "Orders a second", "/assets/overview.js": "fetch(", "/assets/overview.css": "prefers-color-scheme", "/assets/icon.svg": "<svg",
	} {
		answer, body := s.get(t, path)
		if answer.StatusCode != http.StatusOK || !strings.Contains(body, says) {
			t.Errorf("%s = %d %s", path, answer.StatusCode, body)
		}
		policy := answer.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s has the policy %q", path, policy)
		}
		if strings.Contains(body, `<script>"`) || strings.Contains(body, " style=") || strings.Contains(body, "ZgotmplZ") {
			t.Errorf("%s lets something in that it should not: %s", path, body)
		}
	}
	if answer, _ := s.get(t, "/assets/"); answer.StatusCode != http.StatusNotFound {
		t.Errorf("the list of assets = %d", answer.StatusCode)
	}
	if answer, _ := s.get(t, "/elsewhere"); answer.StatusCode != http.StatusNotFound {
		t.Errorf("/elsewhere = %d", answer.StatusCode)
	}
	w := httptest.NewRecorder()
	s.page.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") == "" {
		t.Errorf("POST = %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
}

func TestFiveMinutesAreRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.page.Run(ctx) }()
		<-time.After(20*time.Minute + time.Millisecond)
		synctest.Wait()
		v := s.page.view()
		if v.Since != remember || len(s.page.past) != int(remember/every)+1 {
			t.Errorf("%d samples of %v, want those of %v", len(s.page.past), v.Since, remember)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestQuantilesAreThoseOfPrometheus(t *testing.T) {
	t.Parallel()
	h := histogram{upTo: []float64{1, 2, 4}, at: []float64{10, 30, 40}, count: 50}
	for q, want := range map[float64]float64{.1: .5, .2: 1, .4: 1.5, .8: 4, .99: 4} {
		if got := h.quantile(q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile(%v) = %v, want %v", q, got, want)
		}
	}
	if !math.IsNaN(histogram{}.quantile(.5)) || !math.IsNaN(histogram{}.mean()) || !math.IsNaN((histogram{count: 1}).quantile(.5)) {
		t.Error("what was not observed has no quantile and no mean")
	}
}

func TestLinesHaveGapsWhereNothingIsKnown(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	c := plot(4, []float64{nan, 1, nan, 10})
	if c.Top != 10 || c.Lines[0] != `d="M300.0 90.4M600.0 4.0"` {
		t.Errorf("top %v, line %s", c.Top, c.Lines[0])
	}
	if c.Area != `d="M300.0 90.4L300.0 100L300.0 100ZM600.0 4.0L600.0 100L600.0 100Z"` {
		t.Errorf("area %s", c.Area)
	}
	if c := plot(4, nil); c.Top != 1 || c.Lines[0] != `d=""` {
		t.Errorf("a chart of nothing is %+v", c)
	}
}

func TestNumbersForPeople(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		count(math.NaN()): "–", count(999.6): "1\u202f000", count(1234567): "1\u202f234\u202f567",
		per(0): "0", per(.04): "0.04", per(3.14): "3.1", per(31.4): "31",
		took(.00074): "0.7\u202fms", took(.0234): "23\u202fms", took(1.25): "1.2\u202fs",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for v, want := range map[float64]float64{0: 1, .003: .005, 1: 1, 7: 10, 20: 20, 1001: 2000} {
		if got := ceiling(v); math.Abs(got-want) > 1e-9 {
			t.Errorf("ceiling(%v) = %v, want %v", v, got, want)
		}
	}
}

// BenchmarkLook is what the page costs a process each second, seen or not.
func BenchmarkLook(b *testing.B) {
	s := open(b)
	for b.Loop() {
		s.second()
	}
}
