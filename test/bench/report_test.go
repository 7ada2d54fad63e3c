package bench

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// measured is a report of two rows in three rounds, the second of which was slow for both.
func measured() *report {
	r := newReport()
	r.chapter("Orders", "How they were asked for.")
	for i, echo := range []float64{100, 50, 100} {
		r.sample("echo", "orders/s", echo)
		r.sample("orders", "orders/s", []float64{80, 40, 60}[i])
		r.detail("orders, CPU", "µs/order", 7)
	}
	r.against("orders", "echo")
	r.picture("bars.svg", "Bars", bars("Bars", "a second", []bar{{"echo", 100, 0}}))
	r.goal("orders of echo", 0.7, "orders", "echo", func() string { return "never asked" })
	r.goal("more than there is", 0.9, "orders", "echo", func() string { return "an order costs 7 µs" })
	r.most("small enough", 10, 12, func() string { return "it is large" })
	r.least("large enough", 10, 12, nil)
	r.least("large by luck", 10, 12, nil)
	r.provided(false, "nothing was asked")
	return r
}

func TestTheReportComparesWithinARound(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := measured().write(root); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "benchmarks.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 3 || got.Rows[1].Value != 60 || got.Rows[1].Ratio != 0.8 || got.Rows[1].Spread != 0.333 || got.Rows[0].Against != "" || got.Rows[2].Value != 7 {
		t.Errorf("rows %+v, want orders at 60, 0.8 of echo, a third apart, and what one costs", got.Rows)
	}
	met := ""
	for _, g := range got.Goals {
		met += map[bool]string{true: "y", false: "n"}[g.Met]
	}
	if met != "ynnyn" {
		t.Errorf("goals %+v are met %s, want the first and the fourth", got.Goals, met)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "BENCHMARKS.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{
		"| orders | 60 | orders/s | ±33 % | echo | 0.80 |", "| more than there is | ≥ 0.90 | 0.80 | **not met**: an order costs 7 µs |",
		"| small enough | ≤ 10 | 12 | **not met**: it is large |", "| large enough | ≥ 10 | 12 | met |", "| large by luck | ≥ 10 | 12 | **not met**: nothing was asked |", "![Bars](images/bars.svg)", "How they were asked for.",
	} {
		if !strings.Contains(string(page), says) {
			t.Errorf("the page does not say %q:\n%s", says, page)
		}
	}
	if strings.Contains(string(page), "orders, CPU") {
		t.Error("the page's table holds a detail")
	}
	if _, err := os.Stat(filepath.Join(root, "docs", "images", "bars.svg")); err != nil {
		t.Error(err)
	}
}

func TestTheReadmeTellsOfABusyMachine(t *testing.T) {
	t.Parallel()
	for ns, busy := range map[float64]bool{12: false, 42: true} {
		r := measured()
		r.When = "2026-11-29T17:17:39Z"
		r.chapter("The machine itself", "")
		r.sample(rowMemory, "ns", ns)
		if s := r.summary(); strings.Contains(s, "42 ns") != busy || strings.Contains(s, "not this run's alone") != busy {
			t.Errorf("at %v ns README.md says %s", ns, s)
		}
	}
}

func TestTheReportWritesItsPartOfTheReadme(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	readme := filepath.Join(root, "README.md")
	if err := os.WriteFile(readme, []byte("before\n"+beginMark+"old\n"+endMark+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := measured().write(root); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(page); !strings.HasPrefix(s, "before\n"+beginMark+"Commit ") || !strings.HasSuffix(s, endMark+"after\n") || strings.Contains(s, "old\n") {
		t.Errorf("README.md is %s", s)
	}
	if err := os.WriteFile(readme, []byte("no marks"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := measured().write(root); err == nil {
		t.Error("a README.md without marks was written over")
	}
}

func TestChartsAreWellFormedAndNamed(t *testing.T) {
	t.Parallel()
	for name, svg := range map[string]string{
		"bars":  bars(`<"R&D">`, "a second", []bar{{"a & b", 3, 0}, {"nothing", 0, 1}}),
		"lines": lines("Growth", "µs", "orders", true, []line{{"all", []point{{1, 10}, {1000, 12}}}, {"none", nil}}),
		"one":   lines("Seconds", "a second", "seconds", false, []line{{"all", []point{{0, 0}}}}),
	} {
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, svg)
			}
		}
		if !strings.Contains(svg, "prefers-color-scheme: dark") || !strings.Contains(svg, "aria-label=") || strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Errorf("%s cannot be read by everybody: %s", name, svg)
		}
	}
}

func TestThousandsAndFigures(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", 7: "7", 2.5: "2.5", 999: "999", 1000: "1,000", 49064: "49,064", 1e6: "1,000,000"} {
		if got := thousands(v); got != want {
			t.Errorf("thousands(%v) is %q, want %q", v, got, want)
		}
	}
	for v, want := range map[float64]string{0.7: "0.70", 13.93: "13.9", 4000: "4000", 1247.19: "1247", 100: "100"} {
		if got := figure(v); got != want {
			t.Errorf("figure(%v) is %q, want %q", v, got, want)
		}
	}
}
