// Package database opens a service's own database, Postgres or SQLite, and runs its transactions.
//
// It promises that a transaction which died of a deadlock, a serialisation failure or a timeout runs again from its
// first line, that nobody who stops inside a transaction keeps others waiting for long, and that a COMMIT whose answer
// was lost is told apart from one that failed.
package database

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	_ "github.com/glebarez/go-sqlite" // registers the "sqlite" driver
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/floodgate-dev/floodgate/pkg/config"
)

// Dialect is the kind of database behind a DB.
type Dialect string

// The two dialects that are supported.
const (
	Postgres Dialect = "postgres"
	SQLite   Dialect = "sqlite"
)

// Config says which database a service owns.
type Config struct {
	// DSN is postgres://… or sqlite:<path of a file>.
	DSN config.Secret `mapstructure:"database_dsn"`
	// Migrate brings the tables up to date at start; off where a job does it.
	Migrate bool `mapstructure:"database_migrate"`
	// MaxConns bounds the connections of one process.
	MaxConns int `mapstructure:"database_max_conns"`
}

// Defaults are the settings of a service that was told only its DSN.
func Defaults() Config { return Config{Migrate: true, MaxConns: 20} }

// Check says what is wrong with c, all at once; nil when nothing is.
func (c Config) Check() []string {
	var bad []string
	if _, _, err := parse(c.DSN.Reveal()); err != nil {
		bad = append(bad, err.Error())
	}
	if c.MaxConns < 4 {
		bad = append(bad, fmt.Sprintf("database_max_conns is %d: at least 4 are needed", c.MaxConns))
	}
	return bad
}

// DB is a pool of connections that knows its dialect. Reads may use it directly; every write goes through Tx.
type DB struct {
	*sql.DB
	Dialect Dialect

	writer sync.Mutex // SQLite has one writer; queueing here is cheaper than its busy polling
}

// Open returns a pool for cfg without asking the server anything: a database that is away is an outage to wait for,
// not a reason to die. The caller closes it.
func Open(cfg Config) (*DB, error) {
	dialect, rest, err := parse(cfg.DSN.Reveal())
	if err != nil {
		return nil, err
	}
	if dialect == SQLite {
		return openSQLite(rest)
	}
	pc, err := pgx.ParseConfig(rest)
	if err != nil {
		return nil, fmt.Errorf("database_dsn: %w", err)
	}
	// Law 7: who stops inside a transaction, or is cut off, lets go of its rows. The server decides, for a stopped
	// client cannot. The lock timeout is the shorter one: a second transaction of the stopped process, which waits for the
	// row of its first, would else get it when the first is ended, and keep it for as long again.
	for name, value := range map[string]string{
		"synchronous_commit": "on",
		// A plan that was made while a table was empty would be kept until the table is next analysed: a minute of a sale.
		"plan_cache_mode":                     "force_custom_plan",
		"idle_in_transaction_session_timeout": "5s",
		"lock_timeout":                        "4s",
		"statement_timeout":                   "30s",
		"tcp_keepalives_idle":                 "5",
		"tcp_keepalives_interval":             "3",
		"tcp_keepalives_count":                "3",
		"tcp_user_timeout":                    "15000",
	} {
		if _, set := pc.RuntimeParams[name]; !set {
			pc.RuntimeParams[name] = value
		}
	}
	if pc.ConnectTimeout == 0 {
		pc.ConnectTimeout = 5 * time.Second
	}
	db := &DB{DB: stdlib.OpenDB(*pc), Dialect: Postgres}
	db.SetMaxOpenConns(cfg.MaxConns)
	db.SetMaxIdleConns(cfg.MaxConns)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db, nil
}

func openSQLite(path string) (*DB, error) {
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(10000)", "foreign_keys(1)"}}
	q.Set("_txlock", "immediate")
	// SQLite reads a URI: a ?, # or % in the path is not its own unless escaped.
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(4)
	return &DB{DB: db, Dialect: SQLite}, nil
}

// parse tells the dialect of a DSN and what its driver wants of it.
func parse(dsn string) (Dialect, string, error) {
	switch {
	case strings.HasPrefix(dsn, "postgres://"), strings.HasPrefix(dsn, "postgresql://"):
		if _, err := pgx.ParseConfig(dsn); err != nil { // it prints no password
			return "", "", fmt.Errorf("database_dsn: %w", err)
		}
		return Postgres, dsn, nil
	case strings.HasPrefix(dsn, "sqlite:") && len(dsn) > len("sqlite:"):
		return SQLite, strings.TrimPrefix(dsn, "sqlite:"), nil
	case dsn == "":
		return "", "", fmt.Errorf("database_dsn is empty: set it to postgres://user:password@host/database or sqlite:<file>")
	}
	return "", "", fmt.Errorf("database_dsn must begin with sqlite: or postgres://")
}

// Ready is the readiness probe: nil when the database answers.
func (db *DB) Ready(ctx context.Context) error { return db.PingContext(ctx) }
