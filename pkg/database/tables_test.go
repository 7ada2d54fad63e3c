package database_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

// shelves are migrations, one for each statement.
func shelves(statements ...string) database.Migrations {
	files := fstest.MapFS{}
	for i, s := range statements {
		for _, dialect := range []string{"postgres/", "sqlite/"} {
			files[dialect+"0000"+string(rune('1'+i))+"_shelves.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + s + ";\n")}
		}
	}
	return database.Migrations{Owner: "shelves", Files: files}
}

const (
	first  = "CREATE TABLE shelves (id bigint)"
	second = "ALTER TABLE shelves ADD COLUMN n bigint"
)

func tables(db *database.DB, here bool, sets ...database.Migrations) *database.Tables {
	return database.NewTables(db, database.Config{Migrate: here}, slog.New(slog.DiscardHandler), sets...)
}

// awaiting runs Await beside the test.
func awaiting(ctx context.Context, all *database.Tables) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- all.Await(ctx) }()
	return ended
}

// end is how Await ended.
func end(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("still waiting")
		return nil
	}
}

// comes fails the test when Await does not end well.
func comes(t *testing.T, all *database.Tables, ended <-chan error) {
	t.Helper()
	if err := end(t, ended); err != nil {
		t.Fatal(err)
	}
	if err := all.Ready(t.Context()); err != nil {
		t.Errorf("Ready: %v", err)
	}
}

// waits fails the test unless Await is still waiting after it looked more than once.
func waits(t *testing.T, all *database.Tables, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(1500 * time.Millisecond):
	}
	if all.Ready(t.Context()) == nil {
		t.Error("ready while it waits")
	}
}

func TestTables(t *testing.T) {
	t.Parallel()

	t.Run("AreMadeHereWhenTheDatabaseComes", func(t *testing.T) {
		t.Parallel()
		dsn := servertest.PostgresDSN(t)
		host := strings.SplitN(strings.SplitN(dsn, "@", 2)[1], "/", 2)[0]
		link := servertest.Proxy(t, host)
		link.Cut()
		all := tables(servertest.Open(t, strings.Replace(dsn, host, link.Addr, 1)), true, shelves(first))
		ended := awaiting(t.Context(), all)
		waits(t, all, ended)
		link.Restore()
		comes(t, all, ended)
	})

	t.Run("AreWaitedForWhereAJobMakesThem", func(t *testing.T) {
		t.Parallel()
		servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
			t.Helper()
			all := tables(db, false, shelves(first, second))
			ended := awaiting(t.Context(), all)
			waits(t, all, ended)
			if err := database.Migrate(t.Context(), db, shelves(first)); err != nil {
				t.Fatal(err)
			}
			waits(t, all, ended) // for the second: the release before knew one
			if err := database.Migrate(t.Context(), db, shelves(first, second)); err != nil {
				t.Fatal(err)
			}
			comes(t, all, ended)
		})
	})

	t.Run("OfANewerReleaseWillDo", func(t *testing.T) {
		t.Parallel()
		servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
			t.Helper()
			if err := database.Migrate(t.Context(), db, shelves(first, second)); err != nil {
				t.Fatal(err)
			}
			all := tables(db, false, shelves(first))
			comes(t, all, awaiting(t.Context(), all))
		})
	})

	t.Run("ThatTheDatabaseRefusesAreAnError", func(t *testing.T) {
		t.Parallel()
		servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
			t.Helper()
			err := end(t, awaiting(t.Context(), tables(db, true, shelves("CREATE NONSENSE"))))
			if err == nil || !strings.Contains(err.Error(), "migrate shelves") {
				t.Errorf("err = %v", err)
			}
		})
	})

	t.Run("AreLeftHalfMadeWhenTheServiceStops", func(t *testing.T) {
		t.Parallel()
		servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
			t.Helper()
			ctx, cancel := context.WithCancel(t.Context())
			const endless = "CREATE TABLE shelves AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT count(*) AS i FROM n"
			ended := awaiting(ctx, tables(db, true, shelves(endless)))
			time.AfterFunc(300*time.Millisecond, cancel)
			if err := end(t, ended); !errors.Is(err, context.Canceled) {
				t.Errorf("err = %v", err)
			}
		})
	})

	t.Run("AreNotWaitedForInVain", func(t *testing.T) {
		t.Parallel()
		away := database.Config{DSN: config.Secret("postgres://u@127.0.0.1:1/d"), MaxConns: 4}
		db, err := database.Open(away)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		ctx, cancel := context.WithCancel(t.Context())
		ended := awaiting(ctx, tables(db, true, shelves(first)))
		cancel()
		if err := end(t, ended); !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v", err)
		}
	})
}
