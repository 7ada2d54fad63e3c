package bench

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	orderapi "github.com/floodgate-dev/floodgate/services/order-api"
	"github.com/floodgate-dev/floodgate/test/bench/batch"
)

// batchOf is how many orders each way of writing writes.
const batchOf = 1000

// way is one way of writing orders. It prepares itself for a database that is there until the benchmark's end.
type way struct {
	name    string
	prepare func(b *testing.B, dsn string) (write func() error)
}

var ways = []way{
	{"one by one (GORM)", byGORM(1)},
	{"GORM CreateInBatches(100)", byGORM(100)},
	{"GORM CreateInBatches(200)", byGORM(200)},
	{"GORM CreateInBatches(500)", byGORM(500)},
	{"one Exec with unnest for each table", byExec},
	{"group commit", byGroupCommit},
}

func (w way) row(of string) string {
	return fmt.Sprintf("%d orders, %s, %s", batchOf, w.name, of)
}

// batches compares ways of writing the rows of orders.
func batches(b *testing.B, r *report, rounds int) {
	b.Helper()
	r.chapter("Ways to write", fmt.Sprintf("%d orders of one hot sku into the tables of order-api, each with its line, its payment, its event and the unit it takes, without HTTP and gate. "+
		"One by one is a GORM transaction for each; the next four are one transaction for all; group commit is what order-api does while %d callers want one order each, again and again. "+
		"Statements are counted on the wire, BEGIN and COMMIT included; allocations are the client's.", batchOf, customers))
	s := openShop(b)
	s.stock(b, 1)
	s.Part("order-api", 0).Terminate()
	direct := s.Stores.Databases["order-api"]
	tap := tapped(b, direct)
	for range rounds {
		for _, w := range ways {
			took, allocated := timed(b, w.prepare(b, direct))
			counted := w.prepare(b, tap.dsn)
			before := tap.seen.Load()
			timed(b, counted)
			statements := tap.seen.Load() - before
			progress("%-40s %7.1f ms, %d statements, %.0f allocations", w.name, took, statements, allocated)
			r.detail(w.row("time"), "ms", took)
			r.detail(w.row("statements"), "statements", float64(statements))
			r.detail(w.row("allocations"), "allocations", allocated)
		}
	}
	s.audit(b, int64(2*rounds*len(ways)*batchOf), 0)
	text := fmt.Sprintf("\n| %d orders | ms | statements | allocations |\n|---|---|---|---|\n", batchOf)
	for _, w := range ways {
		text += fmt.Sprintf("| %s | %s | %s | %s |\n", w.name, figure(r.value(w.row("time"))), figure(r.value(w.row("statements"))), thousands(r.value(w.row("allocations"))))
	}
	r.text(text)
}

// timed is what write took, in ms and in allocations of this process.
func timed(b *testing.B, write func() error) (ms, allocated float64) {
	b.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	if err := write(); err != nil {
		b.Fatal(err)
	}
	ms = float64(time.Since(began).Microseconds()) / 1000
	runtime.ReadMemStats(&after)
	return ms, float64(after.Mallocs - before.Mallocs)
}

func byGORM(size int) func(*testing.B, string) func() error {
	return func(b *testing.B, dsn string) func() error {
		b.Helper()
		db, err := batch.OpenGORM(servertest.Open(b, dsn).DB)
		if err != nil {
			b.Fatal(err)
		}
		rows := batch.New(batchOf, "sku-0")
		if size == 1 {
			return func() error { return batch.OneByOne(b.Context(), db, rows) }
		}
		return func() error { return batch.InBatches(b.Context(), db, rows, size) }
	}
}

func byExec(b *testing.B, dsn string) func() error {
	b.Helper()
	db, rows := servertest.Open(b, dsn), batch.New(batchOf, "sku-0")
	return func() error { return batch.OneExec(b.Context(), db, rows) }
}

func byGroupCommit(b *testing.B, dsn string) func() error {
	b.Helper()
	cfg := orderapi.Defaults()
	cfg.Database.DSN, cfg.Telemetry.LogLevel = config.Secret(dsn), "error"
	place, stop, err := orderapi.Placing(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = stop() }) // its orders are in the database, which is counted
	return func() error {
		var n atomic.Int64
		var wg sync.WaitGroup
		failed := make([]error, customers)
		for i := range customers {
			wg.Go(func() {
				for n.Add(1) <= batchOf && failed[i] == nil {
					failed[i] = place(b.Context(), fmt.Sprint("customer-", i), "sku-0")
				}
			})
		}
		wg.Wait()
		return errors.Join(failed...)
	}
}
