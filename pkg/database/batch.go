package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// Statement is a write whose answer nobody needs; see Tx.ExecAll.
type Statement struct {
	what  string
	rows  Values
	query string
	args  []any
}

// Write prepares an ExecValues for ExecAll; what names it in errors.
func Write(what string, v Values, query string, args ...any) Statement {
	return Statement{what: what, rows: v, query: query, args: args}
}

// ExecAll runs statements in the order given, on Postgres in one round trip. Those that have no rows are left out. The
// error names the first that failed; the transaction is then over. A Tx that DB.Tx did not make sends them one by one.
func (tx *Tx) ExecAll(ctx context.Context, statements ...Statement) error {
	var batch pgx.Batch
	var sent []Statement
	for _, s := range statements {
		if s.rows.rows == 0 {
			continue
		}
		query, args, err := s.rows.with(tx.Dialect, s.query, s.args)
		if err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
		if tx.conn == nil || tx.Dialect == SQLite {
			if _, err := tx.ExecContext(ctx, query, args...); err != nil {
				return fmt.Errorf("%s: %w", s.what, err)
			}
			continue
		}
		batch.Queue(query, args...)
		sent = append(sent, s)
	}
	if len(sent) == 0 {
		return nil
	}
	return tx.conn.Raw(func(driver any) error {
		conn, ok := driver.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("the driver is %T, not pgx", driver)
		}
		answers := conn.Conn().SendBatch(ctx, &batch)
		for _, s := range sent {
			if _, err := answers.Exec(); err != nil {
				_ = answers.Close() // it repeats the error
				return fmt.Errorf("%s: %w", s.what, err)
			}
		}
		return answers.Close()
	})
}
