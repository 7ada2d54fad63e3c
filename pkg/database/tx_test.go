package database_test

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

func counters(t *testing.T, db *database.DB) {
	t.Helper()
	for _, q := range []string{
		"CREATE TABLE counters (id bigint PRIMARY KEY, n bigint NOT NULL)",
		"INSERT INTO counters VALUES (1, 0), (2, 0)",
	} {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
}

func total(t *testing.T, db *database.DB) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT sum(n) FROM counters").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func raise(ctx context.Context, tx *database.Tx, id int) error {
	_, err := tx.ExecContext(ctx, "UPDATE counters SET n = n + 1 WHERE id = $1", id)
	return err
}

func TestTransactionsAreWholeUnderConcurrency(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		counters(t, db)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				err := db.Tx(t.Context(), func(tx *database.Tx) error {
					var n int
					err := tx.QueryRowContext(t.Context(), "SELECT n FROM counters WHERE id = 1"+tx.Dialect.ForUpdate()).Scan(&n)
					if err != nil {
						return err
					}
					_, err = tx.ExecContext(t.Context(), "UPDATE counters SET n = $1 WHERE id = 1", n+1)
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		refused := errors.New("no")
		err := db.Tx(t.Context(), func(tx *database.Tx) error {
			if err := raise(t.Context(), tx, 1); err != nil {
				return err
			}
			return refused
		})
		if !errors.Is(err, refused) || total(t, db) != 20 {
			t.Errorf("err = %v, total %d, want 20", err, total(t, db))
		}
	})
}

// together runs two transactions that meet in their first runs, after first and before second.
func together(t *testing.T, db *database.DB, first, second func(ctx context.Context, tx *database.Tx, who int) error) (runs int64) {
	t.Helper()
	var meet, wg sync.WaitGroup
	var n atomic.Int64
	meet.Add(2)
	for who := range 2 {
		wg.Go(func() {
			arrive := sync.OnceFunc(func() { meet.Done(); meet.Wait() })
			err := db.Tx(t.Context(), func(tx *database.Tx) error {
				n.Add(1)
				if err := first(t.Context(), tx, who); err != nil {
					return err
				}
				arrive()
				return second(t.Context(), tx, who)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	return n.Load()
}

func TestDeadlockRunsAgain(t *testing.T) {
	t.Parallel()
	db := servertest.Postgres(t)
	counters(t, db)
	runs := together(t, db,
		func(ctx context.Context, tx *database.Tx, who int) error { return raise(ctx, tx, 1+who) },
		func(ctx context.Context, tx *database.Tx, who int) error { return raise(ctx, tx, 2-who) })
	if runs < 3 || total(t, db) != 4 {
		t.Errorf("%d runs, total %d, want 3 runs and 4", runs, total(t, db))
	}
}

func TestSerialisationFailureRunsAgain(t *testing.T) {
	t.Parallel()
	db := servertest.Postgres(t)
	counters(t, db)
	runs := together(t, db,
		func(ctx context.Context, tx *database.Tx, _ int) error {
			if _, err := tx.ExecContext(ctx, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "SELECT sum(n) FROM counters")
			return err
		},
		func(ctx context.Context, tx *database.Tx, who int) error { return raise(ctx, tx, 1+who) })
	if runs < 3 || total(t, db) != 2 {
		t.Errorf("%d runs, total %d, want 3 runs and 2", runs, total(t, db))
	}
}

// through is a pool on direct's database by way of a link that can be cut.
func through(t *testing.T, dsn string) (*database.DB, *servertest.Link) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	link := servertest.Proxy(t, u.Host)
	u.Host = link.Addr
	return servertest.Open(t, u.String()), link
}

func TestLostCommitReplyIsAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	dsn := servertest.PostgresDSN(t)
	direct := servertest.Open(t, dsn)
	counters(t, direct)
	db, link := through(t, dsn)
	runs := 0
	var watch sync.WaitGroup
	err := db.Tx(t.Context(), func(tx *database.Tx) error {
		runs++
		if err := raise(t.Context(), tx, 1); err != nil {
			return err
		}
		link.CutReplies()
		watch.Go(func() {
			for deadline := time.Now().Add(10 * time.Second); total(t, direct) != 1 && time.Now().Before(deadline); {
				<-time.After(5 * time.Millisecond)
			}
			link.Cut()
		})
		return nil
	})
	watch.Wait()
	if !errors.Is(err, database.ErrUnknownOutcome) || !database.Unavailable(err) || runs != 1 || total(t, direct) != 1 {
		t.Errorf("err = %v, %d runs, total %d", err, runs, total(t, direct))
	}
	if err := db.Ready(t.Context()); !database.Unavailable(err) {
		t.Errorf("a cut link is not Unavailable: %v", err)
	}
	link.Restore()
	err = db.Tx(t.Context(), func(tx *database.Tx) error { return raise(t.Context(), tx, 2) })
	if err != nil || total(t, direct) != 2 {
		t.Errorf("after the outage: %v, total %d", err, total(t, direct))
	}
}

func TestKnownOutcomes(t *testing.T) {
	t.Parallel()
	db := servertest.Postgres(t)
	counters(t, db)
	err := db.Tx(t.Context(), func(tx *database.Tx) error {
		_, _ = tx.ExecContext(t.Context(), "SELECT 1/0") // swallowed: COMMIT rolls back
		return nil
	})
	if err == nil || errors.Is(err, database.ErrUnknownOutcome) || database.Unavailable(err) {
		t.Errorf("commit of a failed transaction: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = db.Tx(ctx, func(tx *database.Tx) error {
		defer cancel()
		return raise(ctx, tx, 1)
	})
	if !errors.Is(err, context.Canceled) || errors.Is(err, database.ErrUnknownOutcome) || total(t, db) != 0 {
		t.Errorf("cancelled before commit: %v", err)
	}
}

func TestWhoIdlesInATransactionLetsGo(t *testing.T) {
	t.Parallel()
	dsn := servertest.PostgresDSN(t)
	db := servertest.Open(t, dsn)
	counters(t, db)
	var timeout string
	if err := db.QueryRowContext(t.Context(), "SHOW idle_in_transaction_session_timeout").Scan(&timeout); err != nil || timeout != "5s" {
		t.Errorf("idle_in_transaction_session_timeout = %q, %v", timeout, err)
	}
	if err := db.QueryRowContext(t.Context(), "SHOW lock_timeout").Scan(&timeout); err != nil || timeout != "4s" {
		t.Errorf("lock_timeout = %q, %v: a stopped process's second transaction would inherit the row of its first", timeout, err)
	}
	stopped := servertest.Open(t, dsn+"&idle_in_transaction_session_timeout=300ms")
	tx, err := stopped.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if err := raise(t.Context(), &database.Tx{Tx: tx, Dialect: database.Postgres}, 1); err != nil {
		t.Fatal(err)
	}
	if err := db.Tx(t.Context(), func(tx *database.Tx) error { return raise(t.Context(), tx, 1) }); err != nil {
		t.Errorf("the waiter: %v", err)
	}
	if _, err := tx.ExecContext(t.Context(), "SELECT 1"); !database.Retryable(err) && !database.Unavailable(err) {
		t.Errorf("the stopped one: %v", err)
	}
	if n := total(t, db); n != 1 {
		t.Errorf("total = %d, want 1", n)
	}
}

func TestReplicasMigrateTogether(t *testing.T) {
	t.Parallel()
	const up = "-- +goose Up\nCREATE TABLE things (id bigint);\n-- +goose Down\nDROP TABLE things;\n"
	slow := strings.Replace(up, "\n", "\nSELECT pg_sleep(0.5);\n", 1) // so that all are there before the first is through
	files := fstest.MapFS{
		"postgres/00001_things.sql": {Data: []byte(slow)},
		"sqlite/00001_things.sql":   {Data: []byte(up)},
	}
	migrate := func(t *testing.T, open func() *database.DB) {
		t.Helper()
		var wg sync.WaitGroup
		for range 8 {
			db := open()
			wg.Go(func() {
				set := database.Migrations{Owner: "things", Files: files}
				if err := database.Migrate(t.Context(), db, set, database.Migrations{Owner: "others", Files: fstest.MapFS{
					"postgres/00001_others.sql": {Data: []byte(strings.ReplaceAll(up, "things", "others"))},
					"sqlite/00001_others.sql":   {Data: []byte(strings.ReplaceAll(up, "things", "others"))},
				}}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if _, err := open().ExecContext(t.Context(), "INSERT INTO things VALUES (1)"); err != nil {
			t.Error(err)
		}
	}
	t.Run("Postgres", func(t *testing.T) {
		t.Parallel()
		dsn := servertest.PostgresDSN(t)
		migrate(t, func() *database.DB { return servertest.Open(t, dsn) })
	})
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		db := servertest.SQLite(t)
		migrate(t, func() *database.DB { return db })
	})
}

func TestSQLitePathIsTakenLiterally(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a b?c#d%20é.db")
	counters(t, servertest.Open(t, "sqlite:"+path))
	if found, err := filepath.Glob(filepath.Join(filepath.Dir(path), "a b[?]c#d%20é.db")); err != nil || len(found) != 1 {
		t.Errorf("found %v, %v", found, err)
	}
	if n := total(t, servertest.Open(t, "sqlite:"+path)); n != 0 {
		t.Errorf("total = %d", n)
	}
}

func TestBadSettingsAreNamedWithoutTheSecret(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{"", "sqlite:", "mysql://u:geheim@h/d", "postgres://u:geheim@h:port/d", "postgres://u:geheim@h/d?sslmode=maybe"} {
		c := database.Defaults()
		c.DSN = config.Secret(dsn)
		c.MaxConns = 1
		bad := strings.Join(c.Check(), "\n")
		if !strings.Contains(bad, "database_dsn") || !strings.Contains(bad, "database_max_conns") || strings.Contains(bad, "geheim") {
			t.Errorf("%s: %s", dsn, bad)
		}
		if _, err := database.Open(c); err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("Open %s: %v", dsn, err)
		}
	}
	c := database.Defaults()
	c.DSN = "sqlite:x.db"
	if bad := c.Check(); bad != nil {
		t.Error(bad)
	}
}
