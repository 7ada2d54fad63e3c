package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Tx is one transaction. Functions that need one take it and end in Tx; nobody opens a second.
type Tx struct {
	*sql.Tx
	Dialect Dialect
	conn    *sql.Conn // that Tx runs on
}

// ErrUnknownOutcome says that COMMIT was sent and its answer never came: the transaction may stand or not. Whoever
// must know locks the rows that the transaction locked and looks.
var ErrUnknownOutcome = errors.New("the outcome of the commit is unknown")

// maxRuns bounds how often Tx runs again for faults that are nobody's.
const maxRuns = 10

// Tx runs fn in one transaction and commits it. Deadlock, serialisation and timeout errors are nobody's fault: fn runs
// again in a new transaction, so it must keep nothing from an earlier run. The error of the last run is returned; it is
// ErrUnknownOutcome when the answer to COMMIT was lost.
func (db *DB) Tx(ctx context.Context, fn func(tx *Tx) error) error {
	if db.Dialect == SQLite {
		db.writer.Lock()
		defer db.writer.Unlock()
	}
	return again(ctx, func() error { return db.once(ctx, db.DB, &mainPool, fn) })
}

// SteadyTx is Tx for work that comes back all the time: on Postgres the plans of its statements are kept, so they must be
// such as Pipeline's.
func (db *DB) SteadyTx(ctx context.Context, fn func(tx *Tx) error) error {
	if db.steady == nil {
		return db.Tx(ctx, fn)
	}
	return again(ctx, func() error { return db.once(ctx, db.steady, &steadyPool, fn) })
}

// again runs a transaction until it ends otherwise than by a fault that is nobody's.
func again(ctx context.Context, once func() error) error {
	for run := 1; ; run++ {
		err := once()
		if err == nil || !Retryable(err) || run == maxRuns {
			return err
		}
		pause := time.Duration(rand.Int64N(int64(run) * int64(10*time.Millisecond)))
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

func (db *DB) once(ctx context.Context, pool *sql.DB, name *poolName, fn func(tx *Tx) error) error {
	asked := time.Now()
	conn, err := pool.Conn(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	db.seen.waited(ctx, asked, name)
	defer func() { _ = conn.Close() }() // back into the pool
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	if err := fn(&Tx{Tx: tx, Dialect: db.Dialect, conn: conn}); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err // COMMIT was not sent, so this outcome is known
	}
	if err := tx.Commit(); err != nil {
		var refused *pgconn.PgError
		if db.Dialect == SQLite || errors.As(err, &refused) || errors.Is(err, sql.ErrTxDone) || errors.Is(err, pgx.ErrTxCommitRollback) {
			return fmt.Errorf("commit: %w", err) // the server said no: nothing stands
		}
		return fmt.Errorf("commit: %w: %w", ErrUnknownOutcome, err)
	}
	return nil
}

// Retryable says that err is nobody's fault and the whole transaction should run again: deadlock, serialisation
// failure, lock or statement timeout, or a session that the server ended because it idled inside a transaction.
func Retryable(err error) bool {
	switch code(err) {
	case "40P01", "40001", "55P03", "57014", "25P03":
		return true
	}
	return err != nil && strings.Contains(err.Error(), "SQLITE_BUSY")
}

// Unavailable says that err is the database's absence, not the fault of what was asked of it: waiting may cure it.
func Unavailable(err error) bool {
	if err == nil {
		return false
	}
	if c := code(err); c != "" {
		switch {
		case strings.HasPrefix(c, "08"), strings.HasPrefix(c, "53"), strings.HasPrefix(c, "57P"), c == "25006", c == "58030":
			return true
		}
		return false
	}
	var netErr net.Error
	var connect *pgconn.ConnectError
	return errors.Is(err, ErrUnknownOutcome) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &netErr) || errors.As(err, &connect) || strings.Contains(err.Error(), "conn closed")
}

// UniqueViolation says that err is a broken unique key, and which constraint it broke ("" on SQLite).
func UniqueViolation(err error) (constraint string, ok bool) {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "23505" {
		return pg.ConstraintName, true
	}
	return "", err != nil && strings.Contains(err.Error(), "UNIQUE constraint failed")
}

func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// NowMS is the SQL expression of the database's clock in milliseconds since 1970 UTC. Decisions about time use it,
// never a process's own clock. On Postgres it is the same within one statement only.
func (d Dialect) NowMS() string {
	if d == SQLite {
		return "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
	}
	return "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
}

// ForUpdate is the row lock of a SELECT, empty on SQLite, whose one writer holds everything.
func (d Dialect) ForUpdate() string {
	if d == SQLite {
		return ""
	}
	return " FOR UPDATE"
}
