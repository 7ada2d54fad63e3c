package bench

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheReportComparesWithinARound(t *testing.T) {
	t.Parallel()
	r := newReport()
	for i, echo := range []float64{100, 50, 100} { // the second round was slow for both
		r.sample("echo", "orders/s", echo)
		r.sample("orders", "orders/s", []float64{80, 40, 60}[i])
	}
	r.against("orders", "echo")
	r.goal("orders of echo", 0.7, "orders", "echo")
	r.goal("more than there is", 0.9, "orders", "echo")
	dir := t.TempDir()
	if err := r.write(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "benchmarks.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 2 || got.Rows[1].Value != 60 || got.Rows[1].Ratio != 0.8 || got.Rows[1].Spread != 0.333 || got.Rows[0].Against != "" {
		t.Errorf("rows %+v, want orders at 60, 0.8 of echo, a third apart", got.Rows)
	}
	if len(got.Goals) != 2 || !got.Goals[0].Met || got.Goals[1].Met {
		t.Errorf("goals %+v, want the first met and the second not", got.Goals)
	}
	page, err := os.ReadFile(filepath.Join(dir, "BENCHMARKS.md"))
	if err != nil || !strings.Contains(string(page), "| orders | 60.0 | orders/s | ±33 % | echo | 0.80 |") || !strings.Contains(string(page), "**not met**") {
		t.Errorf("the page is %s, %v", page, err)
	}
}
