package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// Row is one row of an answer.
type Row interface{ Scan(dest ...any) error }

// Question is a query over a table of values; see Pipeline.Ask.
type Question struct {
	what  string
	rows  Values
	query string
	args  []any
	scan  func(Row) error

	explain bool
}

// Ask prepares a query that reads the table v; scan is called for each row of the answer, what names it in errors. Without
// rows in v nothing is asked.
func Ask(what string, v Values, query string, scan func(Row) error, args ...any) Question {
	return Question{what: what, rows: v, query: query, args: args, scan: scan}
}

// Explain asks Postgres how it would answer q, a line of its plan in each row.
func (q Question) Explain(scan func(Row) error) Question {
	q.explain, q.scan = true, scan
	return q
}

// Pipeline is a transaction of as few round trips as it has decisions: BEGIN travels with its first questions, its writes
// travel with COMMIT. Its statements must be such that one plan is right whatever the tables hold, for their plans are kept:
// lookups by index, and inserts.
type Pipeline struct {
	Dialect Dialect

	conn   *pgx.Conn // Postgres
	tx     *Tx       // SQLite, which has no round trips to save
	begun  bool
	writes []Statement
}

// Pipeline runs fn in one transaction and commits it with the writes that fn left. It runs again, and fails, as Tx does.
func (db *DB) Pipeline(ctx context.Context, fn func(p *Pipeline) error) error {
	if db.Dialect == SQLite {
		return db.Tx(ctx, func(tx *Tx) error {
			p := &Pipeline{Dialect: db.Dialect, tx: tx}
			if err := fn(p); err != nil {
				return err
			}
			return tx.ExecAll(ctx, p.writes...)
		})
	}
	return again(ctx, func() error { return db.pipelined(ctx, fn) })
}

func (db *DB) pipelined(ctx context.Context, fn func(p *Pipeline) error) error {
	asked := time.Now()
	conn, err := db.steady.Conn(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	db.seen.waited(ctx, asked, &steadyPool)
	defer func() { _ = conn.Close() }() // back into the pool
	return conn.Raw(func(driver any) error {
		own, err := native(driver)
		if err != nil {
			return err
		}
		p := &Pipeline{Dialect: Postgres, conn: own}
		err = fn(p)
		if err == nil {
			err = ctx.Err() // COMMIT was not sent, so this outcome is known
		}
		if err != nil {
			p.rollback(ctx)
			return err
		}
		return p.commit(ctx)
	})
}

func native(driver any) (*pgx.Conn, error) {
	conn, ok := driver.(*stdlib.Conn)
	if !ok {
		return nil, fmt.Errorf("the driver is %T, not pgx", driver)
	}
	return conn.Conn(), nil
}

// Ask asks questions in the order given, in one round trip: each sees what the locks of those before it waited for.
func (p *Pipeline) Ask(ctx context.Context, questions ...Question) error {
	if p.tx != nil {
		return p.tx.Ask(ctx, questions...)
	}
	var batch pgx.Batch
	if !p.begun {
		batch.Queue("begin")
	}
	var asked []Question
	for _, q := range questions {
		if q.rows.rows == 0 {
			continue
		}
		text, args, err := q.rows.with(Postgres, q.query, q.args)
		if err != nil {
			return fmt.Errorf("%s: %w", q.what, err)
		}
		if q.explain {
			text = "EXPLAIN " + text
		}
		batch.Queue(text, args...)
		asked = append(asked, q)
	}
	if len(asked) == 0 {
		return nil
	}
	answers := p.conn.SendBatch(ctx, &batch)
	err := p.read(answers, asked)
	return errors.Join(err, answers.Close()) //nolint:wrapcheck // read says what it was
}

func (p *Pipeline) read(answers pgx.BatchResults, asked []Question) error {
	if !p.begun {
		if _, err := answers.Exec(); err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		p.begun = true
	}
	for _, q := range asked {
		rows, _ := answers.Query() // its error is in rows.Err
		for rows.Next() {
			if err := q.scan(rows); err != nil {
				rows.Close()
				return fmt.Errorf("%s: %w", q.what, err)
			}
		}
		if err := rows.Err(); err != nil {
			return fmt.Errorf("%s: %w", q.what, err)
		}
	}
	return nil
}

// Write has statements run before COMMIT, in the order given. Those that have no rows are left out.
func (p *Pipeline) Write(statements ...Statement) { p.writes = append(p.writes, statements...) }

// commit sends what is to be written and COMMIT behind it. After the error of a statement the server passes over the rest,
// COMMIT included. What else goes wrong from here on leaves the outcome open.
func (p *Pipeline) commit(ctx context.Context) error {
	batch, sent, err := queue(Postgres, p.writes)
	if err != nil {
		p.rollback(ctx)
		return err
	}
	if !p.begun {
		if len(sent) == 0 {
			return nil
		}
		return errors.New("a pipeline writes what it asked about: nothing was asked")
	}
	batch.Queue("commit")
	answers := p.conn.SendBatch(ctx, batch)
	err = committed(answers, sent)
	if failed := answers.Close(); err == nil {
		err = failed
	}
	var refused *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused) && refused.SeverityUnlocalized != "FATAL", errors.Is(err, pgx.ErrTxCommitRollback):
		p.rollback(ctx)
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
}

func committed(answers pgx.BatchResults, sent []Statement) error {
	for _, s := range sent {
		if _, err := answers.Exec(); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	tag, err := answers.Exec()
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if strings.EqualFold(tag.String(), "rollback") {
		return fmt.Errorf("commit: %w", pgx.ErrTxCommitRollback)
	}
	return nil
}

// rollback ends what was begun, by a clock of its own. A connection that will not hear of it is of no more use.
func (p *Pipeline) rollback(ctx context.Context) {
	if p.conn.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, err := p.conn.Exec(ctx, "rollback"); err != nil {
		_ = p.conn.Close(ctx)
	}
}

// queue puts statements that have rows into one batch.
func queue(d Dialect, statements []Statement) (*pgx.Batch, []Statement, error) {
	batch := &pgx.Batch{}
	var sent []Statement
	for _, s := range statements {
		if s.rows.rows == 0 {
			continue
		}
		query, args, err := s.rows.with(d, s.query, s.args)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", s.what, err)
		}
		batch.Queue(query, args...)
		sent = append(sent, s)
	}
	return batch, sent, nil
}

// Ask asks one question after the other inside tx.
func (tx *Tx) Ask(ctx context.Context, questions ...Question) error {
	return ask(ctx, tx.QueryValues, questions)
}

// Ask asks one question after the other outside any transaction.
func (db *DB) Ask(ctx context.Context, questions ...Question) error {
	return ask(ctx, db.QueryValues, questions)
}

func ask(
	ctx context.Context, query func(context.Context, Values, string, ...any) (*sql.Rows, error), questions []Question,
) error {
	for _, q := range questions {
		if q.rows.rows == 0 {
			continue
		}
		rows, err := query(ctx, q.rows, q.query, q.args...)
		if _, err = Collect(rows, err, func(rows *sql.Rows) (struct{}, error) { return struct{}{}, q.scan(rows) }); err != nil {
			return fmt.Errorf("%s: %w", q.what, err)
		}
	}
	return nil
}
