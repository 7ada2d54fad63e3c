package bench

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/test/suite"
)

func TestMain(m *testing.M) { suite.BenchMain(m, "../cmd/echo") }

func BenchmarkProbe(b *testing.B) {
	s := openShop(b, strings.Fields(os.Getenv("MORE"))...)
	if set := os.Getenv("PGSET"); set != "" {
		var name string
		s.db.QueryRow("SELECT current_database()").Scan(&name)
		for _, one := range strings.Fields(set) {
			if _, err := s.db.Exec("ALTER DATABASE " + name + " SET " + one); err != nil {
				b.Fatal(err)
			}
		}
		s.Part("order-api", 0).Kill()
		s.Part("order-api", 0).Restart()
	}
	if os.Getenv("LOGSQL") != "" {
		var name string
		s.db.QueryRow("SELECT current_database()").Scan(&name)
		if _, err := s.db.Exec("ALTER DATABASE " + name + " SET log_min_duration_statement=0"); err != nil {
			b.Fatal(err)
		}
		s.Part("order-api", 0).Kill()
		s.Part("order-api", 0).Restart()
	}
	s.stock(b, 10000, plenty)
	var total, lost int64
	for i, skus := range []int{1, 1, 10000} {
		pid := s.Part("order-api", 0).PID()
		if i == 0 {
			go fetch(b, "http://"+s.Part("order-api", 0).Ops+"/debug/pprof/profile?seconds=6", "/tmp/w/cpu.pb")
		}
		var pgs []int
		backends := func() time.Duration {
			rows, err := s.db.Query("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
			if err != nil {
				b.Fatal(err)
			}
			pgs = nil
			for rows.Next() {
				var pid int
				rows.Scan(&pid)
				pgs = append(pgs, pid)
			}
			return cpu(pgs...)
		}
		pgBefore := backends()
		before, r := cpu(pid), cpu(s.Redis.PID())
		t := closed(b.Context(), s.addr(), 64, 8*time.Second, orders("probe"+skuName(i)+"-", tokens(b, 1000), skus, 1))
		n := float64(t.status[201])
		progress("postgres %.1f bench %.1f", float64((backends()-pgBefore).Microseconds())/n, float64(cpu(os.Getpid()).Microseconds()-int64(0))/n)
		progress("%d skus: %.0f/s %v order-api %.1f redis %.1f µs/order", skus, t.rate(201), t.String(), float64((cpu(pid)-before).Microseconds())/n, float64((cpu(s.Redis.PID())-r).Microseconds())/n)
		total += t.status[201]
		lost += t.status[0]
	}
	fetch(b, "http://"+s.Part("order-api", 0).Ops+"/debug/pprof/allocs", "/tmp/w/allocs.pb")
	s.audit(b, total, lost)
}

func fetch(tb testing.TB, from, to string) {
	a, err := http.Get(from)
	if err != nil {
		tb.Error(err)
		return
	}
	text, _ := io.ReadAll(a.Body)
	os.WriteFile(to, text, 0o600)
}
