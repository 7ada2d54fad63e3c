package bench

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/test/suite"
)

func TestMain(m *testing.M) { suite.BenchMain(m, "../cmd/echo", "../cmd/classic") }

// BenchmarkFloodgate is `make bench`: it measures once, whatever -benchtime says, writes the report and prints it.
func BenchmarkFloodgate(b *testing.B) {
	quick := os.Getenv("BENCH") == "quick"
	rounds, during, storm, after := 3, 3500*time.Millisecond, 30*time.Second, 10*time.Second
	if quick {
		rounds, during, storm, after = 1, 1500*time.Millisecond, 5*time.Second, 7*time.Second
	}
	began := time.Now()
	r := newReport()
	r.short, r.versions = quick, versions(b)
	who := tokens(b, 1000)
	quiet := []float64{cacheMiss()}
	// Each chapter ends what it started: the servers work for one alone.
	for _, c := range []struct {
		name    string
		measure func(b *testing.B)
	}{
		{"accepts", func(b *testing.B) { capacity(b, r, who, rounds, during) }},
		{"batches", func(b *testing.B) { batches(b, r, rounds) }},
		{"events", func(b *testing.B) { events(b, r, rounds, during, quick) }},
		{"end", func(b *testing.B) { endToEnd(b, r, who, rounds, during) }},
		{"growth", func(b *testing.B) { grow(b, r, who, min(rounds, 2), during, quick) }},
		{"overload", func(b *testing.B) { overload(b, r, who, during, storm, after) }},
	} {
		progress("--- %s", c.name)
		if !b.Run(c.name, c.measure) {
			b.FailNow()
		}
		quiet = append(quiet, cacheMiss())
	}
	r.chapter("The machine itself", "Taken between the chapters, while nothing else is measured. A processor that has its cache to itself takes 10 to 20 ns. The longer it takes, the more of the "+
		"rates above, and of the processor time of an order, is waiting for memory that others of the same host have pushed out of the cache; of the ratios it is less.")
	for _, ns := range quiet {
		r.sample(rowMemory, "ns", ns)
	}
	goals(r, quick)
	r.took = time.Since(began)
	if err := r.write("../.."); err != nil {
		b.Fatal(err)
	}
	progress("docs/BENCHMARKS.md, docs/benchmarks.json and README.md are written")
	_, _ = fmt.Fprint(os.Stdout, "\n", r.markdown(), "\n") // who runs it sees the table too
}
