package database

import (
	"context"
	"database/sql/driver"
)

// seenConnector opens connections of SQLite that an observer sees.
type seenConnector struct {
	opens driver.Driver
	dsn   string
	by    *observer
}

// Connect opens one.
func (c seenConnector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.opens.Open(c.dsn)
	if err != nil {
		return nil, err
	}
	all, is := conn.(sqliteConn)
	if !is {
		return conn, nil // a driver that can less: it works unseen
	}
	return seenConn{all, c.by}, nil
}

// Driver is SQLite's own.
func (c seenConnector) Driver() driver.Driver { return c.opens }

// sqliteConn is what the driver's connections can do.
type sqliteConn interface {
	driver.Conn
	driver.Pinger
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
}

type seenConn struct {
	sqliteConn

	by *observer
}

// ExecContext runs a statement.
func (c seenConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	a := &asked{what: c.by.statements.of(query), sql: query}
	seen := c.by.begin(ctx, a)
	result, err := c.sqliteConn.ExecContext(ctx, query, args)
	c.by.end(seen, a, err)
	return result, err
}

// QueryContext runs a query; reading its rows is not counted.
func (c seenConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	a := &asked{what: c.by.statements.of(query), sql: query}
	seen := c.by.begin(ctx, a)
	rows, err := c.sqliteConn.QueryContext(ctx, query, args)
	c.by.end(seen, a, err)
	return rows, err
}
