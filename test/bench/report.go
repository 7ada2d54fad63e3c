package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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

	samples  map[string][]float64
	units    map[string]string
	chapters []*chapter
	ratios   map[string]string // the row that a row is compared with
	versions string            // of the servers
	short    bool              // a quick run
	took     time.Duration
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

// goal is a figure that was promised, and whether this run kept it.
type goal struct {
	Name     string  `json:"name"`
	Goal     float64 `json:"goal"`
	Measured float64 `json:"measured"`
	Met      bool    `json:"met"`

	sign string // how measured should compare with goal
	why  string // what the run says about a goal that is not met
}

// chapter is a table of the page: rows that belong together, what was done to get them, and their picture.
type chapter struct {
	title, note string
	rows        []string
	details     []string // rows that benchmarks.json alone has
	text        string   // below the table
	pictures    []picture
}

// picture is a chart and what it shows in words.
type picture struct{ name, alt, svg string }

func newReport() *report {
	return &report{samples: map[string][]float64{}, units: map[string]string{}, ratios: map[string]string{}, Goals: []goal{}}
}

// chapter begins a table of the page; the note says how its rows came about.
func (r *report) chapter(title, note string) {
	r.chapters = append(r.chapters, &chapter{title: title, note: note})
}

// sample adds one round's figure to a row. A row that is new stands in the chapter that was begun last.
func (r *report) sample(name, unit string, value float64) {
	if _, known := r.units[name]; !known {
		last := r.last()
		last.rows = append(last.rows, name)
	}
	r.note(name, unit, value)
}

// detail is sample for a row that the page's table has no room for.
func (r *report) detail(name, unit string, value float64) {
	if _, known := r.units[name]; !known {
		last := r.last()
		last.details = append(last.details, name)
	}
	r.note(name, unit, value)
}

func (r *report) note(name, unit string, value float64) {
	r.units[name] = unit
	r.samples[name] = append(r.samples[name], value)
}

func (r *report) last() *chapter {
	if len(r.chapters) == 0 {
		r.chapter("Measured", "")
	}
	return r.chapters[len(r.chapters)-1]
}

// text and picture stand below the table of the last chapter.
func (r *report) text(text string) { r.last().text += text }

func (r *report) picture(name, alt, svg string) {
	r.last().pictures = append(r.last().pictures, picture{name, alt, svg})
}

// against compares a row with its neighbour of the same rounds.
func (r *report) against(name, other string) { r.ratios[name] = other }

// value is the median of a row.
func (r *report) value(name string) float64 { return median(r.samples[name]) }

// goal is one for the ratio of two rows that should be large; why is asked when it is not met.
func (r *report) goal(name string, at float64, of, against string, why func() string) {
	r.judge(name, at, r.ratio(of, against), false, why)
}

// most is a goal for a figure that should be small.
func (r *report) most(name string, at, measured float64, why func() string) {
	r.judge(name, at, measured, true, why)
}

// least is a goal for a figure that should be large.
func (r *report) least(name string, at, measured float64, why func() string) {
	r.judge(name, at, measured, false, why)
}

func (r *report) judge(name string, at, measured float64, small bool, why func() string) {
	g := goal{Name: name, Goal: at, Measured: round3(measured), sign: "≥"}
	if g.Met = g.Measured >= at; small {
		g.sign, g.Met = "≤", g.Measured <= at
	}
	if !g.Met {
		g.why = why()
	}
	r.Goals = append(r.Goals, g)
}

// provided takes back that the last goal is met where what it needs was not there.
func (r *report) provided(there bool, why string) {
	if last := &r.Goals[len(r.Goals)-1]; !there {
		last.Met, last.why = false, why
	}
}

// ratio is the median of the ratios within one round each. Rows of other rounds are compared by their medians.
func (r *report) ratio(name, other string) float64 {
	ours, theirs := r.samples[name], r.samples[other]
	if len(ours) != len(theirs) {
		return share(median(ours), median(theirs))
	}
	var ratios []float64
	for i, v := range ours {
		ratios = append(ratios, share(v, theirs[i]))
	}
	return median(ratios)
}

// share is 0 of nothing: a load that got no answer must not make a page that cannot be written.
func share(of, all float64) float64 {
	if all == 0 {
		return 0
	}
	return of / all
}

func (r *report) close() {
	for _, c := range r.chapters {
		for _, name := range slices.Concat(c.rows, c.details) {
			r.Rows = append(r.Rows, r.row(name))
		}
	}
	r.When = time.Now().UTC().Format(time.RFC3339)
	r.Machine = fmt.Sprintf("%s, %d processors, %.0f GB, %s/%s, %s", processor(), runtime.NumCPU(), installed(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	r.Commit = "unknown"
	if out, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		r.Commit = strings.TrimSpace(string(out))
	}
}

func (r *report) row(name string) row {
	m := r.value(name)
	var spread float64
	for _, v := range r.samples[name] {
		if m != 0 {
			spread = max(spread, math.Abs(v-m)/math.Abs(m))
		}
	}
	line := row{Name: name, Value: round3(m), Unit: r.units[name], Spread: round3(spread), Against: r.ratios[name]}
	if line.Against != "" {
		line.Ratio = round3(r.ratio(name, line.Against))
	}
	return line
}

// write closes the report and puts it into the folders and pages below root: docs/benchmarks.json, docs/BENCHMARKS.md with
// its pictures, and the part of README.md that is this report's.
func (r *report) write(root string) error {
	r.close()
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	images := filepath.Join(root, "docs", "images")
	if err := os.MkdirAll(images, 0o755); err != nil {
		return err
	}
	files := map[string][]byte{
		filepath.Join(root, "docs", "benchmarks.json"): append(text, '\n'),
		filepath.Join(root, "docs", "BENCHMARKS.md"):   []byte(r.markdown()),
	}
	for _, c := range r.chapters {
		for _, p := range c.pictures {
			files[filepath.Join(images, p.name)] = []byte(p.svg)
		}
	}
	readme := filepath.Join(root, "README.md")
	page, err := os.ReadFile(readme)
	switch {
	case errors.Is(err, fs.ErrNotExist): // the report's own test has none
	case err != nil:
		return err
	default:
		if files[readme], err = between(page, r.summary()); err != nil {
			return fmt.Errorf("%s: %w", readme, err)
		}
	}
	for path, text := range files {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// The part of README.md that a report writes stands between these.
const (
	beginMark = "<!-- make bench writes from here -->\n"
	endMark   = "<!-- to here -->\n"
)

// between puts text in the place of what stands between the marks.
func between(page []byte, text string) ([]byte, error) {
	before, rest, begins := bytes.Cut(page, []byte(beginMark))
	_, after, ends := bytes.Cut(rest, []byte(endMark))
	if !begins || !ends {
		return nil, fmt.Errorf("the marks %q and %q are not there", strings.TrimSpace(beginMark), strings.TrimSpace(endMark))
	}
	return slices.Concat(before, []byte(beginMark+text+endMark), after), nil
}

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Benchmarks

Written by %s (%s for a short one); do not edit. Everything runs on one machine, the load generator and the servers
included, so the ratios say more than the rates. Rounds take turns; a figure is the median of the rounds, the spread how far
the farthest round lay from it ("once" where there was one), a ratio the median of the ratios within a round. Spreads of what the
other tables tell are in [benchmarks.json](benchmarks.json). After the rounds every order is counted
against the stock: a run that oversold or lost one is void and leaves no report.

- commit %s, %s, %s
- %s
- %s
- %s

`, "`make bench`", "`BENCH=quick make bench`", r.Commit, r.When, r.length(), r.Machine, r.versions, commands)
	b.WriteString(r.goals())
	for _, c := range r.chapters {
		b.WriteString(r.table(c))
	}
	return b.String()
}

// commands say how to get single figures again.
const commands = "`make bench` measures everything again; `make profile` says where the time of one order goes (`PROFILE=lua/10000/1` for another load)"

func (r *report) length() string {
	kind := "a whole run"
	if r.short {
		kind = "a short run, so its figures are rough,"
	}
	return fmt.Sprintf("%s of %d min %d s", kind, int(r.took.Minutes()), int(r.took.Seconds())%60)
}

func (r *report) goals() string {
	var b strings.Builder
	b.WriteString("## Goals\n\n| goal | limit | measured | |\n|---|---|---|---|\n")
	for _, g := range r.Goals {
		met := "met"
		if !g.Met {
			met = "**not met**"
			if g.why != "" {
				met += ": " + g.why
			}
		}
		fmt.Fprintf(&b, "| %s | %s %s | %s | %s |\n", g.Name, g.sign, figure(g.Goal), figure(g.Measured), met)
	}
	b.WriteString("\nBy function, the time of one order is told in [ARCHITECTURE](../ARCHITECTURE.md#what-one-order-costs); why a prototype came nearer to the echo, " +
		"in [ADR 9](adr/0009-group-commit.md).\n")
	return b.String()
}

func (r *report) table(c *chapter) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s\n", c.title)
	if c.note != "" {
		fmt.Fprintf(&b, "\n%s\n", c.note)
	}
	if len(c.rows) > 0 {
		b.WriteString("\n| what | median | unit | spread | against | ratio |\n|---|---|---|---|---|---|\n")
	}
	for _, name := range c.rows {
		l, ratio := r.row(name), ""
		if l.Against != "" {
			ratio = figure(l.Ratio)
		}
		spread := "once"
		if len(r.samples[name]) > 1 {
			spread = fmt.Sprintf("±%.0f %%", 100*l.Spread)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", l.Name, figure(l.Value), l.Unit, spread, l.Against, ratio)
	}
	b.WriteString(c.text)
	for _, p := range c.pictures {
		fmt.Fprintf(&b, "\n![%s](images/%s)\n", p.alt, p.name)
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
	if name := kernelSays("/proc/cpuinfo", "model name"); name != "" {
		return name
	}
	return "unknown processor"
}

// installed is the machine's memory in GB.
func installed() float64 {
	var kB float64
	_, _ = fmt.Sscan(kernelSays("/proc/meminfo", "MemTotal"), &kB) // 0 where the kernel does not say
	return kB / 1e6
}

// kernelSays is the value of a name in one of the kernel's lists, "" where it is not.
func kernelSays(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // it was only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), name); found {
			return strings.TrimLeft(value, "\t :")
		}
	}
	return ""
}

// figure shows as much of a value as says something.
func figure(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
