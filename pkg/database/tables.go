package database

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
)

// Tables are what a service keeps in its database. The database may come after the service, and so may the tables where
// a job makes them: Await waits for both.
type Tables struct {
	db    *DB
	make  bool // here; otherwise a job does
	log   *slog.Logger
	sets  []Migrations
	there atomic.Bool
}

// NewTables are the tables of sets in db, made here where cfg says so.
func NewTables(db *DB, cfg Config, log *slog.Logger, sets ...Migrations) *Tables {
	return &Tables{db: db, make: cfg.Migrate, log: log, sets: sets}
}

// Await returns nil when the tables are there. A migration that the database refuses is an error at once: no waiting
// cures it.
func (t *Tables) Await(ctx context.Context) error {
	for {
		err := t.try(ctx)
		if err == nil {
			t.there.Store(true)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if t.make && !Unavailable(err) {
			return err
		}
		t.log.WarnContext(ctx, "waiting for the database", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// Ready is the readiness probe: nil once Await found the tables. It asks the database nothing.
func (t *Tables) Ready(context.Context) error {
	if t.there.Load() {
		return nil
	}
	return errors.New("waiting for the database and its tables")
}

func (t *Tables) try(ctx context.Context) error {
	if t.make {
		return Migrate(ctx, t.db, t.sets...)
	}
	for _, set := range t.sets {
		if err := made(ctx, t.db, set); err != nil {
			return fmt.Errorf("tables of %s: %w", set.Owner, err)
		}
	}
	return nil
}

// made is nil when the tables of set are at least as new as its files: those of a newer release serve an older one too.
func made(ctx context.Context, db *DB, set Migrations) error {
	want, err := set.newest(db.Dialect)
	if err != nil {
		return err
	}
	var have int64
	err = db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM "+set.versions()).Scan(&have)
	if err == nil && have < want {
		err = fmt.Errorf("version %d, wanted is %d: run `migrate`", have, want)
	}
	return err
}

// newest is the number of the last of the set's files.
func (m Migrations) newest(dialect Dialect) (last int64, err error) {
	files, err := fs.Glob(m.Files, string(dialect)+"/*.sql")
	if err != nil {
		return 0, err
	}
	for _, name := range files {
		n, err := goose.NumericComponent(name)
		if err != nil {
			return 0, err
		}
		last = max(last, n)
	}
	return last, nil
}
