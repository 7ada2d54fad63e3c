package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// BenchmarkProfile is `make profile`: 64 buyers before one sku for a few seconds, where the time goes, and what one order
// costs. PROFILE names another load: the gate, how many skus, how many lines, such as off/10000/1.
func BenchmarkProfile(b *testing.B) {
	gate, skus, lines := "lua", 1, 1
	if name := os.Getenv("PROFILE"); name != "" {
		if _, err := fmt.Sscanf(strings.ReplaceAll(name, "/", " "), "%s %d %d", &gate, &skus, &lines); err != nil {
			b.Fatalf("PROFILE is %q: name gate, skus and lines, such as lua/100/3", name)
		}
	}
	dir, err := filepath.Abs("../../.floodgate/profiles")
	if err != nil {
		b.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		b.Fatal(err)
	}
	s := openShop(b, "ORDER_API_GATE="+gate)
	s.stock(b, max(skus, lines))
	who := tokens(b, 1000)
	warm := closed(b.Context(), s.addr(), customers, 2*time.Second, orders("warm", who, skus, lines))
	accepted, lost := warm.status[http.StatusCreated], warm.status[0]
	for _, profile := range []string{"", "profile", "block", "allocs"} {
		var wg sync.WaitGroup
		if profile != "" {
			wg.Go(func() { s.fetch(b, dir, profile) })
		}
		before := s.costs(b)
		t := closed(b.Context(), s.addr(), customers, 5*time.Second, orders("profiled-"+profile, who, skus, lines))
		after := s.costs(b)
		wg.Wait()
		accepted, lost = accepted+t.status[http.StatusCreated], lost+t.status[0]
		if profile != "" {
			continue // watching costs too
		}
		progress("%.0f orders/s  %v", t.accepts(), t)
		n := float64(max(1, t.status[http.StatusCreated]))
		for i, c := range after {
			fmt.Fprintf(os.Stderr, "          %10.3f  %s\n", (c.value-before[i].value)/n, c.what)
		}
	}
	s.audit(b, accepted, lost)
	progress("go tool pprof -http : %s/cpu.pb.gz    (or allocs, block)", dir)
}

// fetch keeps one profile of order-api, taken over some seconds.
func (s shop) fetch(b *testing.B, dir, profile string) {
	b.Helper()
	text, err := s.opsPage(b.Context(), "/debug/pprof/"+profile+"?seconds=4")
	if err != nil {
		b.Error(err)
		return
	}
	name := map[string]string{"profile": "cpu"}[profile]
	if name == "" {
		name = profile
	}
	if err := os.WriteFile(filepath.Join(dir, name+".pb.gz"), text, 0o600); err != nil {
		b.Error(err)
	}
}

func (s shop) opsPage(ctx context.Context, path string) ([]byte, error) {
	return opsPage(ctx, s.Part("order-api", 0).Ops, path)
}

func opsPage(ctx context.Context, addr, path string) ([]byte, error) {
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	return io.ReadAll(answer.Body)
}

// cost is a counter that grows while orders are taken.
type cost struct {
	what  string
	value float64
}

// costs reads what order-api and its servers have spent so far.
func (s shop) costs(b *testing.B) []cost {
	b.Helper()
	metrics, err := s.opsPage(b.Context(), "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: s.Redis.Addr})
	defer func() { _ = client.Close() }()
	info := client.Info(b.Context(), "all").Val()
	var commits, syncs, wal float64
	if err := s.db.QueryRowContext(b.Context(), `SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),
		wal_sync, wal_bytes FROM pg_stat_wal`).Scan(&commits, &syncs, &wal); err != nil {
		b.Fatal(err)
	}
	var all []cost
	used := s.spent(b)
	for _, part := range parts {
		all = append(all, cost{"µs of CPU in " + part, float64(used[part].Microseconds())})
	}
	return append(all, []cost{
		{"allocations in order-api", found(string(metrics), `(?m)^go_memstats_mallocs_total (\S+)`)},
		{"kB allocated in order-api", found(string(metrics), `(?m)^go_memstats_alloc_bytes_total (\S+)`) / 1000},
		{"batches of orders", found(string(metrics), `(?m)^floodgate_accept_batch_size_count\S* (\S+)`)},
		{"round trips to Postgres, of the relay and of consumers too", found(string(metrics), `(?m)^db_client_operation_duration_seconds_count\S*postgresql\S* (\S+)`)},
		{"scripts in Redis, a round trip each", found(info, `cmdstat_evalsha:calls=(\d+)`)},
		{"transactions of Postgres", commits},
		{"fsyncs of Postgres's log", syncs},
		{"bytes of Postgres's log", wal},
	}...)
}

// found adds up what pattern finds.
func found(text, pattern string) (sum float64) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		v, _ := strconv.ParseFloat(m[1], 64) // the pattern finds numbers
		sum += v
	}
	return sum
}
