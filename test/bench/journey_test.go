package bench

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/test/suite"
)

// BenchmarkJourney is `make profile PROFILE=journey`: what one order costs over all services until nothing is left to do,
// and where each service's time goes. It has servers of its own, so that nobody else's work is counted; the statements
// that cost Postgres most are listed by database.
func BenchmarkJourney(b *testing.B) {
	dir, err := filepath.Abs("../../.floodgate/profiles")
	if err != nil {
		b.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		b.Fatal(err)
	}
	h := openWatched(b)
	who := tokens(b, 1000)
	addr := h.Part("order-api", 0).Addr
	var total int64
	for _, watch := range []bool{false, false, true} { // the first warms up
		h.forget(b)
		var wg sync.WaitGroup
		if watch {
			for _, p := range h.All() {
				wg.Go(func() { fetchCPU(b, p, filepath.Join(dir, p.Service+".pb.gz")) })
			}
		}
		before, began := h.spent(b), time.Now()
		t := closed(b.Context(), addr, customers, 6*time.Second, orders(fmt.Sprint("journey-", total, "-"), who, 1, 1))
		n := t.status[http.StatusCreated]
		total += n + t.status[0]
		h.settled(b, total)
		rate := float64(n) / time.Since(began).Seconds()
		h.toldAll(b, total)
		after := h.spent(b)
		wg.Wait()
		progress("%d orders, %.0f accepted a second, %.0f a second end to end", n, t.accepts(), rate)
		if watch {
			continue // watching costs too
		}
		for i, c := range after {
			fmt.Fprintf(os.Stderr, "          %10.3f  %s\n", (c.value-before[i].value)/float64(n), c.what)
		}
		h.tellStatements(b, n)
	}
	h.Balance()
	progress("go tool pprof -http : %s/inventory.pb.gz    (or another service's)", dir)
}

// watched is a house on servers of its own.
type watched struct {
	house
	postgres *servertest.PostgresProcess
	kafka    *suite.Kafka
}

func openWatched(tb testing.TB) watched {
	tb.Helper()
	w := watched{postgres: servertest.PostgresServer(tb), kafka: suite.StartKafka(tb)}
	db, err := sql.Open("pgx", w.postgres.DSN)
	if err != nil {
		tb.Fatal(err)
	}
	for _, set := range []string{"shared_preload_libraries = 'pg_stat_statements'", "track_io_timing = off", "shared_buffers = '512MB'", "max_wal_size = '8GB'"} {
		if _, err := db.ExecContext(tb.Context(), "ALTER SYSTEM SET "+set); err != nil {
			tb.Fatal(err)
		}
	}
	_ = db.Close() // nothing is in flight
	w.postgres.Stop()
	w.postgres.Start()
	w.house = houseOf(tb, suite.Config{Postgres: w.postgres, Kafka: w.kafka})
	if _, err := w.orders.ExecContext(tb.Context(), `CREATE EXTENSION pg_stat_statements`); err != nil {
		tb.Fatal(err)
	}
	return w
}

// toldAll waits until order-api has heard everything that follows from the orders.
func (w watched) toldAll(tb testing.TB, orders int64) {
	tb.Helper()
	const each = 4 // it moved to paid, was booked, earned points, has its shipment
	suite.WaitFor(tb, time.Minute, func() error {
		var n int64
		if err := w.orders.QueryRowContext(tb.Context(), `SELECT COUNT(*) FROM timeline`).Scan(&n); err != nil {
			return err
		}
		if n != each*orders {
			return fmt.Errorf("%d of %d entries are in the timeline", n, each*orders)
		}
		return nil
	})
}

func (w watched) forget(tb testing.TB) {
	tb.Helper()
	if _, err := w.orders.ExecContext(tb.Context(), `SELECT pg_stat_statements_reset()`); err != nil {
		tb.Fatal(err)
	}
}

// spent is what every process and database has used so far.
func (w watched) spent(tb testing.TB) []cost {
	tb.Helper()
	var all []cost
	var sum float64
	add := func(what string, pid int) {
		used := float64(cpu(pid).Microseconds())
		sum += used
		all = append(all, cost{"µs of CPU in " + what, used})
	}
	for _, p := range w.All() {
		add(p.Service, p.PID())
	}
	add("Kafka", w.kafka.PID())
	add("Redis", w.Redis.PID())
	add("Postgres", postmaster(tb, w.postgres.Dir))
	all = append(all, cost{"µs of CPU in all of these", sum})
	for _, p := range w.All() {
		var commits, aborts, inserted, updated, inPlace float64
		err := w.Database(tb, p.Service).QueryRowContext(tb.Context(), `SELECT xact_commit, xact_rollback, tup_inserted, tup_updated,
			(SELECT sum(n_tup_hot_upd) FROM pg_stat_user_tables) FROM pg_stat_database WHERE datname = current_database()`).
			Scan(&commits, &aborts, &inserted, &updated, &inPlace)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, cost{"transactions of " + p.Service, commits + aborts},
			cost{"rows inserted by " + p.Service, inserted}, cost{"rows updated by " + p.Service, updated},
			cost{"of them within their page, so without a word to an index", inPlace})
	}
	var syncs, bytes float64
	if err := w.orders.QueryRowContext(tb.Context(), `SELECT wal_sync, wal_bytes FROM pg_stat_wal`).Scan(&syncs, &bytes); err != nil {
		tb.Fatal(err)
	}
	return append(all, cost{"fsyncs of Postgres's log", syncs}, cost{"bytes of Postgres's log", bytes})
}

// statement is what one database spent on one statement.
type statement struct {
	calls, rows, µs float64
	text            string
}

// tellStatements lists what each database executed, the most expensive first.
func (w watched) tellStatements(tb testing.TB, orders int64) {
	tb.Helper()
	const shown = 14
	n := float64(orders)
	for _, p := range w.All() {
		rows, err := w.orders.QueryContext(tb.Context(), `SELECT calls, rows, total_exec_time * 1000, regexp_replace(left(query, 400), '\s+', ' ', 'g')
			FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = $1
			ORDER BY total_exec_time DESC`, databaseName(w.Stores.Databases[p.Service]))
		all, err := database.Collect(rows, err, func(rows *sql.Rows) (s statement, err error) {
			err = rows.Scan(&s.calls, &s.rows, &s.µs, &s.text)
			return s, err
		})
		if err != nil {
			tb.Fatal(err)
		}
		var calls, µs float64
		for _, s := range all {
			calls, µs = calls+s.calls, µs+s.µs
		}
		fmt.Fprintf(os.Stderr, "          %10.3f  statements of %s, %.1f µs\n", calls/n, p.Service, µs/n)
		for _, s := range all[:min(shown, len(all))] {
			fmt.Fprintf(os.Stderr, "            %8.2f µs  %7.4f calls  %6.3f rows  %.150s\n", s.µs/n, s.calls/n, s.rows/n, s.text)
		}
	}
}

func databaseName(dsn string) string {
	name, _, _ := strings.Cut(dsn[strings.LastIndex(dsn, "/")+1:], "?")
	return name
}

// postmaster is the first process of the cluster in dir.
func postmaster(tb testing.TB, dir string) int {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		tb.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		tb.Fatal(err)
	}
	return pid
}

func fetchCPU(b *testing.B, p *suite.Part, path string) {
	text, err := opsPage(b.Context(), p.Ops, "/debug/pprof/profile?seconds=6")
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		b.Error(err)
	}
}
