// Package books counts every store of a suite against the others: units, points, parcels, money, events.
//
// It promises to read each store in one snapshot, to count only once the suite is quiet (nothing unsent, nothing unread,
// nothing parked, and the same again a moment later), and to say both sides of every book, whether they agree or not.
package books

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	_ "github.com/glebarez/go-sqlite"  // reads the embedded suite's files
	_ "github.com/jackc/pgx/v5/stdlib" // reads the servers' databases
)

// Stores say where a suite keeps what it knows, and where it is asked.
type Stores struct {
	Databases map[string]string // DSN by service: order-api, inventory, points, logistics
	Brokers   []string
	Prefix    string // of topics
	HTTP      string // order-api's door, http://host:port; "" where the suite did not say
	Replayer  string // dlq-replayer's
}

// ErrNotQuiet says that the suite was still at work when patience ended; why is in its text.
var ErrNotQuiet = errors.New("the suite is not quiet")

// Wait waits until the suite is quiet and counts it. It gives up with ErrNotQuiet when limit is over.
func Wait(ctx context.Context, s Stores, limit time.Duration) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	dbs, err := open(s)
	if err != nil {
		return Report{}, err
	}
	defer dbs.close()
	if err := quiet(ctx, s, dbs); err != nil {
		return Report{}, err
	}
	// Counting a large suite takes its time; only waiting is bounded.
	return count(context.WithoutCancel(ctx), s, dbs)
}

// databases are the opened stores, by service.
type databases map[string]*sql.DB

func open(s Stores) (databases, error) {
	dbs := databases{}
	for service, dsn := range s.Databases {
		driver, at := "pgx", dsn
		if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
			driver, at = "sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(10000)"
		}
		db, err := sql.Open(driver, at)
		if err != nil {
			dbs.close()
			return nil, fmt.Errorf("open the store of %s: %w", service, err)
		}
		db.SetMaxOpenConns(2)
		dbs[service] = db
	}
	return dbs, nil
}

func (d databases) close() {
	for _, db := range d {
		_ = db.Close() // it was only read
	}
}

// snapshot runs read in one snapshot of a service's store.
func (d databases) snapshot(ctx context.Context, service string, read func(tx *sql.Tx) error) error {
	db := d[service]
	if db == nil {
		return fmt.Errorf("nobody said where %s keeps its store", service)
	}
	isolation := &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}
	if isSQLite(db) {
		isolation = nil // its read transactions are snapshots, and the driver knows no other
	}
	tx, err := db.BeginTx(ctx, isolation)
	if err != nil {
		return fmt.Errorf("read the store of %s: %w", service, err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	if err := read(tx); err != nil {
		return fmt.Errorf("read the store of %s: %w", service, err)
	}
	return nil
}

func isSQLite(db *sql.DB) bool { return strings.Contains(fmt.Sprintf("%T", db.Driver()), "sqlite") }

// rows reads every row of a query; to says where the columns of the next row go, and take what to do with it.
func rows(ctx context.Context, tx *sql.Tx, query string, to []any, take func()) error {
	found, err := tx.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("%w in %s", err, query)
	}
	defer func() { _ = found.Close() }() // its error is in Err
	for found.Next() {
		if err := found.Scan(to...); err != nil {
			return err
		}
		take()
	}
	return found.Err()
}
