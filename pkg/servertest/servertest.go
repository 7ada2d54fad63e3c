// Package servertest gives a test the servers it needs, each its own: a database, a Redis, a part of Kafka. It never
// skips: without servers the test fails and says how to start them.
package servertest

import (
	"bufio"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver that makes and drops databases

	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/database"
)

// address reads name from the environment or from .floodgate/servers.env of the checkout the test runs in.
func address(tb testing.TB, name string) string {
	tb.Helper()
	if v := os.Getenv(name); v != "" {
		return v
	}
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if v := fromFile(filepath.Join(dir, ".floodgate", "servers.env"), name); v != "" {
			return v
		}
		dir = filepath.Dir(dir)
	}
	tb.Fatalf("%s is not known: run `make servers` first", name)
	return ""
}

func fromFile(path, name string) string {
	f, err := os.Open(path) //nolint:gosec // a fixed name below the checkout
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), name+"="); ok {
			return v
		}
	}
	return ""
}

// Unique is a short name that no other test has, fit for databases, topics and skus.
func Unique() string {
	b := make([]byte, 6)
	_, _ = rand.Read(b)
	return "t" + hex.EncodeToString(b)
}

// PostgresDSN makes an empty database on the real server and drops it when the test ends.
func PostgresDSN(tb testing.TB) string {
	tb.Helper()
	admin := address(tb, "POSTGRES_DSN")
	u, err := url.Parse(admin)
	if err != nil {
		tb.Fatalf("POSTGRES_DSN: %v", err)
	}
	db, err := sql.Open("pgx", admin)
	if err != nil {
		tb.Fatal(err)
	}
	name := Unique()
	if _, err := db.ExecContext(tb.Context(), "CREATE DATABASE "+name); err != nil {
		tb.Fatalf("no database for the test (is `make servers` up?): %v", err)
	}
	tb.Cleanup(func() {
		if _, err := db.ExecContext(context.Background(), "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			tb.Errorf("drop the test's database: %v", err)
		}
		_ = db.Close()
	})
	u.Path = "/" + name
	return u.String()
}

// SQLiteDSN names a new SQLite file that goes with the test.
func SQLiteDSN(tb testing.TB) string {
	tb.Helper()
	return "sqlite:" + filepath.Join(tb.TempDir(), "test.db")
}

// Open opens dsn and closes it when the test ends.
func Open(tb testing.TB, dsn string) *database.DB {
	tb.Helper()
	cfg := database.Defaults()
	cfg.DSN = config.Secret(dsn)
	db, err := database.Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

// Postgres is an open, empty Postgres database.
func Postgres(tb testing.TB) *database.DB {
	tb.Helper()
	return Open(tb, PostgresDSN(tb))
}

// SQLite is an open, empty SQLite database.
func SQLite(tb testing.TB) *database.DB {
	tb.Helper()
	return Open(tb, SQLiteDSN(tb))
}

// EachDatabase runs a conformance test on both dialects.
func EachDatabase(t *testing.T, test func(t *testing.T, db *database.DB)) {
	t.Helper()
	t.Run("Postgres", func(t *testing.T) { t.Parallel(); test(t, Postgres(t)) })
	t.Run("SQLite", func(t *testing.T) { t.Parallel(); test(t, SQLite(t)) })
}

// Kafka is the real broker's addresses and a prefix for topics and groups that no other test has.
func Kafka(tb testing.TB) (brokers []string, prefix string) {
	tb.Helper()
	return strings.Split(address(tb, "KAFKA_BROKERS"), ","), Unique() + "."
}
