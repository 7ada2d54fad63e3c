package database

import (
	"context"
	"fmt"
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
	if tx.conn == nil || tx.Dialect == SQLite {
		return tx.execEach(ctx, statements)
	}
	batch, sent, err := queue(tx.Dialect, statements)
	if err != nil || len(sent) == 0 {
		return err
	}
	return tx.conn.Raw(func(driver any) error {
		conn, err := native(driver)
		if err != nil {
			return err
		}
		answers := conn.SendBatch(ctx, batch)
		for _, s := range sent {
			if _, err := answers.Exec(); err != nil {
				_ = answers.Close() // it repeats the error
				return fmt.Errorf("%s: %w", s.what, err)
			}
		}
		return answers.Close()
	})
}

func (tx *Tx) execEach(ctx context.Context, statements []Statement) error {
	for _, s := range statements {
		if s.rows.rows == 0 {
			continue
		}
		if _, err := tx.ExecValues(ctx, s.rows, s.query, s.args...); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return nil
}
