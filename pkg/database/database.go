// Package database opens a service's own database, Postgres or SQLite, and runs its transactions.
//
// It promises that a transaction which died of a deadlock, a serialisation failure or a timeout runs again from its
// first line, that nobody who stops inside a transaction keeps others waiting for long, and that a COMMIT whose answer
// was lost is told apart from one that failed.
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
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
	// Username and Password win over what the DSN says, so that a DSN without secrets can stand where people read it.
	Username string        `mapstructure:"database_username"`
	Password config.Secret `mapstructure:"database_password"`
	// TLSCAFile holds the authorities that the server's certificate must come from. The server's name is verified too,
	// unless the DSN says sslmode=verify-ca.
	TLSCAFile string `mapstructure:"database_tls_ca_file"`
	// Migrate brings the tables up to date at start; off where a job does it.
	Migrate bool `mapstructure:"database_migrate"`
	// MaxConns bounds the connections of one process.
	MaxConns int `mapstructure:"database_max_conns"`
	// Slow is how long a statement may take before the log tells of it, with its plan; 0 for never.
	Slow time.Duration `mapstructure:"database_slow"`
}

// Defaults are the settings of a service that was told only its DSN.
func Defaults() Config { return Config{Migrate: true, MaxConns: 20, Slow: 100 * time.Millisecond} }

// Steady is how many of the connections are put aside for Pipeline and SteadyTx.
func (c Config) Steady() int { return max(1, c.MaxConns/4) }

// Check says what is wrong with c, all at once; nil when nothing is.
func (c Config) Check() []string {
	var bad []string
	if dialect, rest, err := parse(c.DSN.Reveal()); err != nil {
		bad = append(bad, err.Error())
	} else if dialect == Postgres {
		if _, err := c.server(rest); err != nil {
			bad = append(bad, err.Error())
		}
	} else if c.Username != "" || c.Password != "" || c.TLSCAFile != "" {
		bad = append(bad, "database_username, database_password and database_tls_ca_file need a database_dsn that begins with postgres://")
	}
	if c.MaxConns < 4 {
		bad = append(bad, fmt.Sprintf("database_max_conns is %d: at least 4 are needed", c.MaxConns))
	}
	if c.Slow < 0 {
		bad = append(bad, fmt.Sprintf("database_slow is %v: it must be 0 or more", c.Slow))
	}
	return bad
}

// DB is a pool of connections that knows its dialect. Reads may use it directly; every write goes through Tx.
type DB struct {
	*sql.DB
	Dialect Dialect

	seen *observer // nil where nobody looks

	// steady are connections for Pipeline and SteadyTx on Postgres: a statement is planned once for each of them.
	steady *sql.DB

	writer sync.Mutex // SQLite has one writer; queueing here is cheaper than its busy polling
}

// Open returns a pool for cfg without asking the server anything: a database that is away is an outage to wait for,
// not a reason to die. The caller closes it.
func Open(cfg Config) (*DB, error) { return OpenObserved(cfg, Observers{}) }

// OpenObserved is Open for a service that tells what its database does.
func OpenObserved(cfg Config, o Observers) (*DB, error) {
	dialect, rest, err := parse(cfg.DSN.Reveal())
	if err != nil {
		return nil, err
	}
	db := &DB{Dialect: dialect}
	open := db.openPostgres
	if dialect == SQLite {
		open = db.openSQLite
	}
	if err := open(rest, cfg, o); err != nil {
		return nil, err
	}
	if db.seen != nil {
		db.seen.of = db
		if err := db.seen.watch(o.Meter, db.pools()); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return db, nil
}

// Close ends the pool, and what is told of it.
func (db *DB) Close() error {
	var err error
	if db.seen != nil {
		err = db.seen.stop()
		if db.seen.slow != nil {
			db.seen.slow.stop()
		}
	}
	if db.steady != nil {
		err = errors.Join(err, db.steady.Close())
	}
	return errors.Join(err, db.DB.Close())
}

func (db *DB) openPostgres(rest string, cfg Config, o Observers) error {
	pc, err := cfg.server(rest)
	if err != nil {
		return err
	}
	if db.seen, err = newObserver("postgresql", pc.Database, cfg, o); err != nil {
		return err
	}
	if db.seen != nil {
		pc.Tracer = pgTracer{db.seen}
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
	db.DB, db.steady = pool(*pc, cfg.MaxConns-cfg.Steady()), pool(*steady(pc), cfg.Steady())
	db.steady.SetConnMaxLifetime(steadyFor)
	return nil
}

func pool(pc pgx.ConnConfig, most int) *sql.DB {
	db := stdlib.OpenDB(pc)
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

// steadyFor bounds how long a plan is kept, should one be worse than it might be.
const steadyFor = 30 * time.Second

// steady is pc for connections that keep their plans. Planning nine statements for each batch of orders took half of what
// Postgres spent on it. A plan that is kept must be right whatever the tables will hold, also when it was made while they
// were empty, so the planner may not choose by their size: a row is found by an index, or not at all.
func steady(pc *pgx.ConnConfig) *pgx.ConnConfig {
	pc = pc.Copy()
	for name, value := range map[string]string{
		"plan_cache_mode": "force_generic_plan",
		"enable_seqscan":  "off", "enable_bitmapscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off",
		"jit": "off",
	} {
		pc.RuntimeParams[name] = value
	}
	return pc
}

// server is where and how Postgres is reached: the DSN, with what the other settings say of it.
func (c Config) server(dsn string) (*pgx.ConnConfig, error) {
	if c.TLSCAFile != "" {
		verified, err := verified(dsn, c.TLSCAFile)
		if err != nil {
			return nil, err
		}
		dsn = verified
	}
	pc, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("database_dsn: %w", err) // it prints no password
	}
	if c.Username != "" {
		pc.User = c.Username
	}
	if c.Password != "" {
		pc.Password = c.Password.Reveal()
	}
	return pc, nil
}

// verified is dsn with the authorities in the file ca. Modes in which the driver would go on without encryption, or
// without looking at the certificate, contradict the wish for them.
func verified(dsn, ca string) (string, error) {
	at, err := url.Parse(dsn)
	if err != nil {
		return "", errors.New("database_dsn is no address that database_tls_ca_file could be added to") // err would print it
	}
	q := at.Query()
	switch mode := q.Get("sslmode"); mode {
	case "":
		q.Set("sslmode", "verify-full")
	case "verify-full", "verify-ca":
	default:
		return "", fmt.Errorf("database_tls_ca_file needs sslmode=verify-full or verify-ca in database_dsn, not %s", mode)
	}
	if _, err := os.Stat(ca); err != nil {
		return "", fmt.Errorf("database_tls_ca_file: %w", err)
	}
	q.Set("sslrootcert", ca)
	at.RawQuery = q.Encode()
	return at.String(), nil
}

func (db *DB) openSQLite(path string, cfg Config, o Observers) (err error) {
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(10000)", "foreign_keys(1)"}}
	q.Set("_txlock", "immediate")
	// SQLite reads a URI: a ?, # or % in the path is not its own unless escaped.
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	if db.DB, err = sql.Open("sqlite", dsn); err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	if db.seen, err = newObserver("sqlite", "", cfg, o); err != nil {
		return err
	}
	if db.seen != nil {
		unseen := db.DB
		db.DB = sql.OpenDB(seenConnector{unseen.Driver(), dsn, db.seen})
		if err := unseen.Close(); err != nil {
			return fmt.Errorf("open %s: %w", path, err)
		}
	}
	db.SetMaxOpenConns(4)
	return nil
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
