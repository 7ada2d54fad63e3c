package bench

import (
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/test/suite"
)

func TestMain(m *testing.M) { suite.BenchMain(m, "../cmd/echo") }

// customers are as many as there are connections in the rows on capacity.
const customers = 64

// BenchmarkFloodgate is `make bench`: it measures once, whatever -benchtime says, and writes the report.
func BenchmarkFloodgate(b *testing.B) {
	rounds, during := 3, 5*time.Second
	if os.Getenv("BENCH") == "quick" {
		rounds, during = 1, 3*time.Second
	}
	r := newReport()
	capacity(b, r, rounds, during)
	if err := r.write("../../docs"); err != nil {
		b.Fatal(err)
	}
	progress("docs/BENCHMARKS.md and docs/benchmarks.json are written")
}

// capacity compares what the door can do with what it does: echoes and orders take turns, so that a machine which slows
// down slows both.
func capacity(b *testing.B, r *report, rounds int, during time.Duration) {
	b.Helper()
	gates := map[string]shop{"lua": openShop(b), "off": openShop(b, "ORDER_API_GATE=off")}
	for _, s := range gates {
		s.stock(b, 10_000, plenty)
	}
	ceiling := map[string]echo{"bare": startEcho(b, "bare", gates["lua"]), "serve": startEcho(b, "serve", gates["lua"])}
	who := tokens(b, 1000)
	accepted, lost := map[string]int64{}, map[string]int64{}

	for round := range rounds {
		for how, name := range map[string]string{"bare": rowBare, "serve": rowEcho} {
			t := closed(b.Context(), ceiling[how].addr, customers, during, orders("echo", who, 1, 1))
			progress("%-40s %7.0f/s  %v", name, t.accepts(), t)
			r.sample(name, "orders/s", t.accepts())
		}
		for _, v := range []struct {
			gate        string
			skus, lines int
		}{{"lua", 1, 1}, {"lua", 100, 1}, {"lua", 10_000, 1}, {"lua", 100, 3}, {"off", 1, 1}, {"off", 10_000, 1}} {
			s, name := gates[v.gate], rowAccepts(v.gate, v.skus, v.lines)
			pid := s.Part("order-api", 0).PID()
			before := cpu(pid)
			t := closed(b.Context(), s.addr(), customers, during, orders(fmt.Sprintf("%d-%d-%d-", round, v.skus, v.lines), who, v.skus, v.lines))
			used := cpu(pid) - before
			progress("%-40s %7.0f/s  %v", name, t.accepts(), t)
			r.sample(name, "orders/s", t.accepts())
			r.sample(name+", order-api's CPU", "µs/order", float64(used.Microseconds())/float64(max(1, t.status[http.StatusCreated])))
			accepted[v.gate] += t.status[http.StatusCreated]
			lost[v.gate] += t.status[0]
		}
	}
	half := median(r.samples[rowAccepts("lua", 1, 1)]) / 2
	for round := range rounds {
		t := open(b.Context(), gates["lua"].addr(), half, 4*customers, during, orders(fmt.Sprint("open-", round, "-"), who, 1, 1))
		progress("%-40s %7.0f/s  %v", rowLatency, t.accepts(), t)
		r.sample(rowLatency+", p50", "ms", t.ms(50))
		r.sample(rowLatency+", p99", "ms", t.ms(99))
		accepted["lua"] += t.status[http.StatusCreated]
		lost["lua"] += t.status[0]
	}
	for gate, s := range gates {
		s.audit(b, accepted[gate], lost[gate])
	}
	for _, gate := range []string{"lua", "off"} {
		for _, skus := range []int{1, 10_000} {
			r.against(rowAccepts(gate, skus, 1), rowEcho)
		}
	}
	r.against(rowAccepts("lua", 100, 1), rowEcho)
	r.against(rowAccepts("lua", 100, 3), rowEcho)
	r.against(rowEcho, rowBare)
	r.goal("accepts on one hot sku, of echo behind the same middleware", 0.7, rowAccepts("lua", 1, 1), rowEcho)
	r.goal("accepts on one hot sku, of bare echo", 0.5, rowAccepts("lua", 1, 1), rowBare)
	r.goal("accepts on 10,000 skus, of echo behind the same middleware", 0.55, rowAccepts("lua", 10_000, 1), rowEcho)
	r.most("p99 in ms at half of capacity on one hot sku", 15, rowLatency+", p99")
}

const (
	rowLatency = "accept, open loop at half of capacity"
	rowBare    = "echo, bare"
	rowEcho    = "echo behind the middleware"
)

func rowAccepts(gate string, skus, lines int) string {
	return fmt.Sprintf("accepts: gate %s, %d skus, %d lines", gate, skus, lines)
}
