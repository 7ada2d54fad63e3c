package database_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

// countUp reads the counter id, locked, and adds one to it.
func countUp(ctx context.Context, p *database.Pipeline, id int64) (was int64, err error) {
	this := database.NewValues(database.Col("id", "bigint", []int64{id}))
	err = p.Ask(ctx, database.Ask("lock the counter", this,
		`SELECT c.n FROM v JOIN counters c ON c.id = v.id`+p.Dialect.ForUpdate(), func(row database.Row) error { return row.Scan(&was) }))
	p.Write(database.Write("count", database.NewValues(database.Col("id", "bigint", []int64{id}), database.Col("n", "bigint", []int64{was + 1})),
		`UPDATE counters SET n = v.n FROM v WHERE counters.id = v.id`))
	return was, err
}

func TestPipelineReadsUnderItsLocksAndWritesWhole(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		ctx := t.Context()
		counters(t, db)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := db.Pipeline(ctx, func(p *database.Pipeline) error { _, err := countUp(ctx, p, 1); return err }); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := total(t, db); n != 20 {
			t.Errorf("20 counted %d", n)
		}
	})
}

func TestPipelineLeavesNothingOfWhatFailed(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		ctx := t.Context()
		counters(t, db)
		before, stop := total(t, db), errors.New("stop")
		err := db.Pipeline(ctx, func(p *database.Pipeline) error { _, err := countUp(ctx, p, 1); return errors.Join(err, stop) })
		if !errors.Is(err, stop) {
			t.Errorf("got %v", err)
		}
		runs := 0
		err = db.Pipeline(ctx, func(p *database.Pipeline) error {
			runs++
			_, err := countUp(ctx, p, 1)
			again := database.NewValues(database.Col("id", "bigint", []int64{1}))
			p.Write(database.Write("insert again", again, "INSERT INTO counters (id, n) SELECT v.id, 0 FROM v"),
				database.Write("never reached", again, "DELETE FROM counters"))
			return err
		})
		if _, unique := database.UniqueViolation(err); !unique || !strings.Contains(err.Error(), "insert again") || runs != 1 {
			t.Errorf("%v after %d runs, want the key broken by insert again", err, runs)
		}
		if n := total(t, db); n != before {
			t.Errorf("%d counted, want the %d of before", n, before)
		}
		// The connection goes back in order.
		if err := db.Pipeline(ctx, func(p *database.Pipeline) error { _, err := countUp(ctx, p, 1); return err }); err != nil {
			t.Error(err)
		}
	})
}

func TestPipelineAsksNothingWithoutRows(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		ctx := t.Context()
		counters(t, db)
		none := database.Ask("nothing", database.NewValues(database.Col("id", "bigint", []int64{})), "no SQL at all", nil)
		if err := db.Pipeline(ctx, func(p *database.Pipeline) error { return p.Ask(ctx, none) }); err != nil {
			t.Error(err)
		}
	})
}

// TestPipelineRunsAgain crosses the locks of two transactions: what Postgres ends runs again, and both stand.
func TestPipelineRunsAgain(t *testing.T) {
	t.Parallel()
	db := servertest.Postgres(t)
	ctx := t.Context()
	counters(t, db)
	var both, wg sync.WaitGroup
	both.Add(2)
	for _, ids := range [][]int64{{1, 2}, {2, 1}} {
		wg.Go(func() {
			met := sync.OnceFunc(func() { both.Done(); both.Wait() })
			err := db.Pipeline(ctx, func(p *database.Pipeline) error {
				_, err := countUp(ctx, p, ids[0])
				met()
				if err == nil {
					_, err = countUp(ctx, p, ids[1])
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := total(t, db); n != 4 {
		t.Errorf("%d counted, want 4", n)
	}
}

// TestPipelineTellsALostCommit lets COMMIT through and swallows its answer.
func TestPipelineTellsALostCommit(t *testing.T) {
	t.Parallel()
	dsn := servertest.PostgresDSN(t)
	direct := servertest.Open(t, dsn)
	counters(t, direct)
	db, link := through(t, dsn)
	count := func(then func()) error {
		return db.Pipeline(t.Context(), func(p *database.Pipeline) error {
			_, err := countUp(t.Context(), p, 1)
			then()
			return err
		})
	}
	if err := count(func() {}); err != nil { // its statements are prepared now
		t.Fatal(err)
	}
	var watch sync.WaitGroup
	runs := 0
	err := count(func() {
		runs++
		link.CutReplies()
		watch.Go(func() {
			for deadline := time.Now().Add(10 * time.Second); total(t, direct) != 2 && time.Now().Before(deadline); {
				<-time.After(5 * time.Millisecond)
			}
			link.Cut()
		})
	})
	watch.Wait()
	if n := total(t, direct); !errors.Is(err, database.ErrUnknownOutcome) || !database.Unavailable(err) || runs != 1 || n != 2 {
		t.Errorf("err = %v, %d runs, total %d", err, runs, n)
	}
	link.Restore()
	if err := count(func() {}); err != nil || total(t, direct) != 3 {
		t.Errorf("after the outage: %v, total %d", err, total(t, direct))
	}
}
