package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Values is a table made of Go slices, so that one statement inserts, updates or joins any number of rows. In the
// statement it is called v:
//
//	v := database.NewValues(database.Col("order_id", "uuid", ids), database.Col("points", "bigint", points))
//	rows, err := tx.QueryValues(ctx, v, `INSERT INTO ledger (order_id, points)
//		SELECT v.order_id, v.points FROM v WHERE true ON CONFLICT DO NOTHING RETURNING order_id`)
//
// On Postgres it is one unnest, whose text does not depend on the number of rows, so the plan is prepared once; on
// SQLite one JSON array. (SQLite needs the WHERE before ON CONFLICT.)
type Values struct {
	cols []Column
	rows int
}

// Column is one column of Values.
type Column struct {
	name, typ string
	array     any             // the slice as Postgres takes it
	at        func(i int) any // one element as SQLite takes it
	n         int
}

// Col names a column, its Postgres type and its elements.
func Col[T any](name, typ string, elems []T) Column {
	return Column{name: name, typ: typ, array: array(elems), at: func(i int) any { return elems[i] }, n: len(elems)}
}

// NewValues joins columns of one length; other lengths are a bug and panic.
func NewValues(cols ...Column) Values {
	for _, c := range cols {
		if c.n != cols[0].n {
			panic(fmt.Sprintf("database: column %s has %d rows, %s has %d", c.name, c.n, cols[0].name, cols[0].n))
		}
	}
	return Values{cols: cols, rows: cols[0].n}
}

// with puts the table v in front of query, its parameters numbered after args.
func (v Values) with(d Dialect, query string, args []any) (string, []any, error) {
	var b strings.Builder
	b.Grow(len(query) + 64*len(v.cols))
	b.WriteString("WITH v(")
	for i, c := range v.cols {
		b.WriteString(comma(i) + c.name)
	}
	b.WriteString(") AS (SELECT ")
	if d == Postgres {
		b.WriteString("* FROM unnest(")
		for i, c := range v.cols {
			args = append(args, c.array)
			b.WriteString(comma(i) + "$" + strconv.Itoa(len(args)) + "::" + c.parameter() + "[]")
		}
		b.WriteString(")")
	} else {
		table, err := v.json()
		if err != nil {
			return "", nil, err
		}
		args = append(args, table)
		for i, c := range v.cols {
			fmt.Fprintf(&b, c.fromJSON(), comma(i), i)
		}
		fmt.Fprintf(&b, " FROM json_each($%d)", len(args))
	}
	b.WriteString(") ")
	b.WriteString(query)
	return b.String(), args, nil
}

// parameter is the type that Postgres takes the column as. Uuids travel as text: the driver tries to encode strings as
// binary uuids first and prints the whole column into an error that nobody reads, a sixth of a batch's client time.
func (c Column) parameter() string {
	if c.typ == "uuid" {
		return "text[]::uuid"
	}
	return c.typ
}

// fromJSON is the format of the expression that reads a column out of a row of json.
func (c Column) fromJSON() string {
	if c.typ == "bytea" {
		return "%sunhex(value ->> %d)"
	}
	return "%svalue ->> %d"
}

// json is the rows as an array of arrays, bytes in hex. SQLite takes it as one parameter: with a parameter for each
// value its driver needs time that grows with their square, and more than 32,766 are refused.
func (v Values) json() (string, error) {
	rows := make([][]any, v.rows)
	for r := range rows {
		rows[r] = make([]any, len(v.cols))
		for i, c := range v.cols {
			value, err := driver.DefaultParameterConverter.ConvertValue(c.at(r))
			if err != nil {
				return "", fmt.Errorf("column %s, row %d: %w", c.name, r, err)
			}
			switch x := value.(type) {
			case []byte:
				if x != nil {
					value = hex.EncodeToString(x)
				} else {
					value = nil
				}
			case string:
				if !utf8.ValidString(x) || strings.ContainsRune(x, 0) {
					return "", fmt.Errorf("column %s, row %d: text must be UTF-8 without NUL", c.name, r)
				}
			}
			rows[r][i] = value
		}
	}
	b, err := json.Marshal(rows)
	return string(b), err
}

func comma(i int) string {
	if i == 0 {
		return ""
	}
	return ", "
}

// ExecValues runs a statement that reads the table v. args are its other parameters, $1 onwards. v must have rows.
func (tx *Tx) ExecValues(ctx context.Context, v Values, query string, args ...any) (sql.Result, error) {
	q, all, err := v.with(tx.Dialect, query, args)
	if err != nil {
		return nil, err
	}
	return tx.ExecContext(ctx, q, all...)
}

// QueryValues is ExecValues for a statement that answers rows; the caller closes them.
func (tx *Tx) QueryValues(ctx context.Context, v Values, query string, args ...any) (*sql.Rows, error) {
	q, all, err := v.with(tx.Dialect, query, args)
	if err != nil {
		return nil, err
	}
	return tx.QueryContext(ctx, q, all...)
}

// QueryValues reads outside any transaction; the caller closes the rows.
func (db *DB) QueryValues(ctx context.Context, v Values, query string, args ...any) (*sql.Rows, error) {
	q, all, err := v.with(db.Dialect, query, args)
	if err != nil {
		return nil, err
	}
	return db.QueryContext(ctx, q, all...)
}

// Collect reads every row of a query with scan and closes it. rows and err are what the query answered:
//
//	rows, err := tx.QueryValues(ctx, v, query)
//	return database.Collect(rows, err, scanOrder)
func Collect[T any](rows *sql.Rows, err error, scan func(*sql.Rows) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // its error is in rows.Err
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
