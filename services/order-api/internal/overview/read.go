package overview

import (
	"math"
	"sort"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// sample is what the meters said at one moment. Counters count from the start of the process.
type sample struct {
	at                 time.Time
	accepted, repeated float64
	refused            map[string]float64 // by reason
	answer, wait, size histogram
	raised, lowered    float64            // units by which the gate's counters were corrected
	backlog, oldest    float64            // of the outbox; NaN before it was first measured
	stuck              map[string]float64 // by state; nil before they were first counted
}

// histogram is a Prometheus histogram: at[i] observations were at most upTo[i].
type histogram struct {
	upTo, at   []float64
	count, sum float64
}

// read picks what the page shows. What is not measured yet counts nothing.
func read(at time.Time, families []*dto.MetricFamily) sample {
	s := sample{at: at, refused: map[string]float64{}, backlog: math.NaN(), oldest: math.NaN()}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			s.note(f.GetName(), m)
		}
	}
	return s
}

func (s *sample) note(name string, m *dto.Metric) {
	switch name {
	case "floodgate_orders_accepted_total":
		s.accepted += m.GetCounter().GetValue()
	case "floodgate_orders_replayed_total":
		s.repeated += m.GetCounter().GetValue()
	case "floodgate_orders_refused_total":
		s.refused[label(m, "reason")] += m.GetCounter().GetValue()
	case "http_server_request_duration_seconds":
		if label(m, "http_request_method") == "POST" && label(m, "http_route") == "/api/v1/orders" {
			s.answer.add(m.GetHistogram())
		}
	case "floodgate_accept_queue_wait_seconds":
		s.wait.add(m.GetHistogram())
	case "floodgate_accept_batch_size":
		s.size.add(m.GetHistogram())
	case "floodgate_gate_drift_total":
		if label(m, "direction") == "raised" {
			s.raised += m.GetCounter().GetValue()
		} else {
			s.lowered += m.GetCounter().GetValue()
		}
	case "floodgate_outbox_backlog":
		s.backlog = m.GetGauge().GetValue()
	case "floodgate_outbox_oldest_age_seconds":
		s.oldest = m.GetGauge().GetValue()
	case "floodgate_orders_stuck":
		if s.stuck == nil {
			s.stuck = map[string]float64{}
		}
		s.stuck[label(m, "state")] += m.GetGauge().GetValue()
	}
}

func label(m *dto.Metric, name string) string {
	for _, pair := range m.GetLabel() {
		if pair.GetName() == name {
			return pair.GetValue()
		}
	}
	return ""
}

// add joins what other labels kept apart; the bounds are the same for all.
func (h *histogram) add(from *dto.Histogram) {
	if h.upTo == nil {
		for _, b := range from.GetBucket() {
			h.upTo, h.at = append(h.upTo, b.GetUpperBound()), append(h.at, 0)
		}
	}
	for i, b := range from.GetBucket() {
		h.at[i] += float64(b.GetCumulativeCount())
	}
	h.count += float64(from.GetSampleCount())
	h.sum += from.GetSampleSum()
}

// since is what was observed after before was read.
func (h histogram) since(before histogram) histogram {
	if before.upTo == nil {
		return h
	}
	d := histogram{upTo: h.upTo, at: make([]float64, len(h.at)), count: h.count - before.count, sum: h.sum - before.sum}
	for i := range h.at {
		d.at[i] = h.at[i] - before.at[i]
	}
	return d
}

// quantile is what a share q of the observations stayed below, as Prometheus estimates it: straight within a bucket, and
// the last bound for what lies beyond it. NaN when nothing was observed.
func (h histogram) quantile(q float64) float64 {
	if h.count == 0 {
		return math.NaN()
	}
	rank := q * h.count
	i := sort.Search(len(h.at), func(i int) bool { return h.at[i] >= rank })
	switch {
	case i == len(h.at) && i == 0:
		return math.NaN()
	case i == len(h.at), math.IsInf(h.upTo[i], 1):
		return h.upTo[max(0, min(i, len(h.upTo))-1)]
	}
	from, below := 0.0, 0.0
	if i > 0 {
		from, below = h.upTo[i-1], h.at[i-1]
	}
	return from + (h.upTo[i]-from)*(rank-below)/(h.at[i]-below)
}

// mean of the observations; NaN when there were none.
func (h histogram) mean() float64 {
	if h.count == 0 {
		return math.NaN()
	}
	return h.sum / h.count
}
