package overview

import (
	"fmt"
	"html/template"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// view is the page in numbers.
type view struct {
	Name    string
	At      time.Time
	Since   time.Duration // how much of the past is known
	Ago     string        // the left edge of the charts
	Seen    bool          // the meters were read at least once
	Now     now
	Charts  map[string]chart
	Refused []reason
	Stuck   []reason
	Told    bool // stuck orders are counted
}

// now is what the last seconds say.
type now struct {
	Accepted, Refused               float64 // a second
	Total, Turned, Repeated         float64 // since the process began
	P50, P99, WaitP50, WaitP99      float64 // seconds
	Batch                           float64
	Backlog, Oldest                 float64
	Raised, Lowered                 float64 // units, in what is shown
	Slow, Behind, Drifted, Stranded bool    // what somebody should look at
}

type reason struct {
	Name        string
	Rate, Total float64
	Share       float64 // of the most frequent, 0 to 100
}

// shortest is how much time a chart shows of a process that has just begun.
const shortest = time.Minute

// steady is over how many seconds a number is taken that people read: one alone jumps too much.
const steady = 10

// When a number is worth a look. Alerts have their own, slower rules; see docs/slo.md.
const (
	slowAnswer   = 0.25 // seconds, p99
	behindOutbox = 30   // seconds, the oldest event
	driftRate    = 1    // units a second
)

func (p *Page) view() view {
	p.mu.Lock()
	past := slices.Clone(p.past)
	p.mu.Unlock()
	v := view{Name: p.Name, Charts: map[string]chart{}}
	if len(past) == 0 {
		return v
	}
	first, last := past[0], past[len(past)-1]
	v.Seen, v.At, v.Since = true, last.at, last.at.Sub(first.at)
	v.Ago = ago(max(v.Since, shortest))
	recent := past[max(0, len(past)-1-steady)]
	v.Now = between(recent, last)
	v.Now.Raised, v.Now.Lowered = last.raised-first.raised, last.lowered-first.lowered
	v.Now.Drifted = v.Now.Raised+v.Now.Lowered > driftRate*max(shortest.Seconds(), v.Since.Seconds())
	v.Refused = reasons(recent, last)
	v.Told = last.stuck != nil
	for _, status := range slices.Sorted(maps.Keys(last.stuck)) {
		v.Stuck = append(v.Stuck, reason{Name: status, Total: last.stuck[status]})
		v.Now.Stranded = v.Now.Stranded || last.stuck[status] > 0
	}
	v.draw(past)
	return v
}

// between are the numbers of the time from a to b.
func between(a, b sample) now {
	answer, wait := b.answer.since(a.answer), b.wait.since(a.wait)
	n := now{
		Accepted: rate(a, b, func(s sample) float64 { return s.accepted }),
		Refused:  rate(a, b, sample.allRefused), Total: b.accepted, Turned: b.allRefused(), Repeated: b.repeated,
		P50: answer.quantile(.5), P99: answer.quantile(.99), WaitP50: wait.quantile(.5), WaitP99: wait.quantile(.99),
		Batch: b.size.since(a.size).mean(), Backlog: b.backlog, Oldest: b.oldest,
	}
	n.Slow, n.Behind = n.P99 > slowAnswer, n.Oldest > behindOutbox
	return n
}

func (s sample) allRefused() (sum float64) {
	for _, n := range s.refused {
		sum += n
	}
	return sum
}

// rate is by how much a counter rises in a second; 0 when no time passed.
func rate(a, b sample, of func(sample) float64) float64 {
	took := b.at.Sub(a.at).Seconds()
	if took <= 0 {
		return 0
	}
	return (of(b) - of(a)) / took
}

// reasons are those for which orders were refused, the most frequent first. Some are counted from the start, with none.
func reasons(a, b sample) []reason {
	var all []reason
	for name, total := range b.refused {
		if total == 0 {
			continue
		}
		all = append(all, reason{Name: name, Total: total, Rate: rate(a, b, func(s sample) float64 { return s.refused[name] })})
	}
	slices.SortFunc(all, func(x, y reason) int {
		if x.Total != y.Total {
			return int(math.Copysign(1, y.Total-x.Total))
		}
		return strings.Compare(x.Name, y.Name)
	})
	for i := range all {
		all[i].Share = 100 * all[i].Total / max(1, all[0].Total)
	}
	return all
}

// draw makes the charts, a point a sample. Quantiles look at several samples, so that a quiet second has some too.
func (v *view) draw(past []sample) {
	lines := func(of ...func(i int) float64) chart {
		values := make([][]float64, len(of))
		for k, f := range of {
			for i := 1; i < len(past); i++ {
				values[k] = append(values[k], f(i))
			}
		}
		return plot(max(len(past)-1, int(shortest/every)), values...)
	}
	over := func(i int, of func(sample) histogram) histogram {
		return of(past[i]).since(of(past[max(0, i-steady)]))
	}
	quantile := func(q float64, of func(sample) histogram) func(int) float64 {
		return func(i int) float64 { return over(i, of).quantile(q) }
	}
	perSecond := func(of func(sample) float64) func(int) float64 {
		return func(i int) float64 { return rate(past[i-1], past[i], of) }
	}
	answer, wait := func(s sample) histogram { return s.answer }, func(s sample) histogram { return s.wait }
	v.Charts = map[string]chart{
		"orders":  lines(perSecond(func(s sample) float64 { return s.accepted }), perSecond(sample.allRefused)),
		"answer":  lines(quantile(.5, answer), quantile(.99, answer)),
		"wait":    lines(quantile(.5, wait), quantile(.99, wait)),
		"batch":   lines(func(i int) float64 { return over(i, func(s sample) histogram { return s.size }).mean() }),
		"backlog": lines(func(i int) float64 { return past[i].backlog }),
		"drift":   lines(perSecond(func(s sample) float64 { return s.raised + s.lowered })),
	}
}

// chart is lines over one axis of time, the newest at the right edge.
type chart struct {
	Top   float64 // the value at the upper edge
	Lines []template.HTMLAttr
	Area  template.HTMLAttr // below the first line
}

// The charts' own measure; the page stretches them.
const wide, high = 600.0, 100.0

// plot draws values of at most n moments. NaN leaves a gap.
func plot(n int, values ...[]float64) chart {
	most := 0.0
	for _, line := range values {
		for _, v := range line {
			if !math.IsNaN(v) {
				most = max(most, v)
			}
		}
	}
	c := chart{Top: ceiling(most)}
	for k, line := range values {
		path, area := trace(n, c.Top, line)
		c.Lines = append(c.Lines, attribute(path))
		if k == 0 {
			c.Area = attribute(area)
		}
	}
	return c
}

// trace is the line through values, and the area below it.
func trace(n int, top float64, values []float64) (path, area string) {
	var line, below strings.Builder
	pen, began, x := false, 0.0, 0.0
	lift := func() {
		if pen {
			fmt.Fprintf(&below, "L%.1f %.0fL%.1f %.0fZ", x, high, began, high)
		}
		pen = false
	}
	for i, v := range values {
		if math.IsNaN(v) {
			lift()
			continue
		}
		x = wide * float64(n-len(values)+i+1) / float64(n)
		verb := "L"
		if !pen {
			verb, began = "M", x
		}
		pen = true
		step := fmt.Sprintf("%s%.1f %.1f", verb, x, high-(high-4)*v/top)
		line.WriteString(step)
		below.WriteString(step)
	}
	lift()
	return line.String(), below.String()
}

// attribute is a path of numbers, which no one's words get into.
func attribute(path string) template.HTMLAttr {
	return template.HTMLAttr(`d="` + path + `"`) //nolint:gosec // letters and numbers made above
}

// ceiling is the next of 1, 2, 5, 10, 20 … times a power of ten.
func ceiling(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 2, 5, 10} {
		if v <= step*power*(1+1e-9) {
			return step * power
		}
	}
	return 10 * power
}

var words = template.FuncMap{"count": count, "per": per, "took": took, "clock": clock}

// count is a whole number in groups of three; a dash for one that is not known.
func count(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	text := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "\u202f" + text[at:]
	}
	return text
}

// per is a rate or a mean: with a decimal where one can be seen.
func per(v float64) string {
	if math.IsNaN(v) || v == 0 || v >= 10 || v == math.Trunc(v) {
		return count(v)
	}
	if v < .1 {
		return strconv.FormatFloat(v, 'g', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// took is seconds for people: 7.4 ms, 1.25 s.
func took(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case v < .0095:
		return strconv.FormatFloat(v*1000, 'f', 1, 64) + "\u202fms"
	case v < .9995:
		return strconv.FormatFloat(v*1000, 'f', 0, 64) + "\u202fms"
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + "\u202fs"
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05") + " UTC" }

// ago is how long ago something was, for people.
func ago(d time.Duration) string {
	if d = d.Round(time.Second); d%time.Minute == 0 {
		return fmt.Sprintf("%d min ago", d/time.Minute)
	}
	return fmt.Sprintf("%d:%02d min ago", d/time.Minute, d%time.Minute/time.Second)
}
