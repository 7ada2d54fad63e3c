package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report is what one run measured; its JSON is the shape that docs/benchmarks.json has for good.
type report struct {
	Commit  string `json:"commit"`
	Machine string `json:"machine"`
	When    string `json:"when"`
	Rows    []row  `json:"rows"`
	Goals   []goal `json:"goals"`

	samples map[string][]float64
	units   map[string]string
	order   []string
	ratios  map[string]string // the row that a row is compared with
}

// row is the median of the rounds. Spread is how far the farthest round lay from it, as a share of it; Ratio is the median
// of the ratios within one round each, and compares with the row Against.
type row struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Spread  float64 `json:"spread"`
	Against string  `json:"against,omitempty"`
	Ratio   float64 `json:"ratio,omitempty"`
}

// goal is a ratio that was promised, and whether this run kept it.
type goal struct {
	Name     string  `json:"name"`
	Goal     float64 `json:"goal"`
	Measured float64 `json:"measured"`
	Met      bool    `json:"met"`
}

func newReport() *report {
	return &report{samples: map[string][]float64{}, units: map[string]string{}, ratios: map[string]string{}, Goals: []goal{}}
}

// sample adds one round's figure to a row.
func (r *report) sample(name, unit string, value float64) {
	if _, known := r.units[name]; !known {
		r.order = append(r.order, name)
	}
	r.units[name] = unit
	r.samples[name] = append(r.samples[name], value)
}

// against compares a row with its neighbour of the same rounds.
func (r *report) against(name, other string) { r.ratios[name] = other }

func (r *report) goal(name string, at float64, of, against string) {
	measured := round3(r.ratio(of, against))
	r.Goals = append(r.Goals, goal{name, at, measured, measured >= at})
}

// most is a goal for a figure that should be small.
func (r *report) most(name string, at float64, of string) {
	measured := round3(median(r.samples[of]))
	r.Goals = append(r.Goals, goal{name, at, measured, measured <= at})
}

func (r *report) ratio(name, other string) float64 {
	var ratios []float64
	for i, v := range r.samples[name] {
		ratios = append(ratios, v/r.samples[other][i])
	}
	return median(ratios)
}

func (r *report) close() {
	for _, name := range r.order {
		m := median(r.samples[name])
		var spread float64
		for _, v := range r.samples[name] {
			spread = max(spread, math.Abs(v-m)/m)
		}
		line := row{Name: name, Value: round3(m), Unit: r.units[name], Spread: round3(spread), Against: r.ratios[name]}
		if line.Against != "" {
			line.Ratio = round3(r.ratio(name, line.Against))
		}
		r.Rows = append(r.Rows, line)
	}
	r.When = time.Now().UTC().Format(time.RFC3339)
	r.Machine = fmt.Sprintf("%s, %d processors, %s/%s, %s", processor(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	r.Commit = "unknown"
	if out, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		r.Commit = strings.TrimSpace(string(out))
	}
}

// write closes the report and puts BENCHMARKS.md and benchmarks.json into dir.
func (r *report) write(dir string) error {
	r.close()
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "benchmarks.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "BENCHMARKS.md"), []byte(r.markdown()), 0o644)
}

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Benchmarks

Written by `+"`make bench`"+` (`+"`BENCH=quick make bench`"+` for a short one); do not edit. Everything runs on one machine, the load
generator and the servers included, so the ratios say more than the rates. Rounds take turns; a figure is the median of
the rounds, the spread how far the farthest round lay from it. After the rounds every order is counted against the stock: a
run that oversold or lost one prints nothing.

- commit %s, %s
- %s

| what | median | unit | spread | against | ratio |
|---|---|---|---|---|---|
`, r.Commit, r.When, r.Machine)
	for _, l := range r.Rows {
		ratio := ""
		if l.Against != "" {
			ratio = fmt.Sprintf("%.2f", l.Ratio)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | ±%.0f %% | %s | %s |\n", l.Name, figure(l.Value), l.Unit, 100*l.Spread, l.Against, ratio)
	}
	b.WriteString("\n## Goals\n\n| goal | limit | measured | |\n|---|---|---|---|\n")
	for _, g := range r.Goals {
		met := "**not met**"
		if g.Met {
			met = "met"
		}
		fmt.Fprintf(&b, "| %s | %.2f | %.2f | %s |\n", g.Name, g.Goal, g.Measured, met)
	}
	return b.String()
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func round3(v float64) float64 { return math.Round(v*1000) / 1000 }

// processor is what the kernel calls the machine's processor.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	defer func() { _ = f.Close() }() // it was only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, found := strings.CutPrefix(lines.Text(), "model name"); found {
			return strings.TrimLeft(name, "\t :")
		}
	}
	return "unknown processor"
}

// figure shows small values with what follows the point.
func figure(v float64) string {
	if v < 100 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
