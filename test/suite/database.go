package suite

import (
	"database/sql"
	"net/url"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // looks into the services' databases

	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

// databaseOn makes an empty database on a server of the test's own; it goes with the server.
func databaseOn(tb testing.TB, server *servertest.PostgresProcess) string {
	tb.Helper()
	db := opened(tb, server.DSN)
	name := servertest.Unique()
	if _, err := db.ExecContext(tb.Context(), "CREATE DATABASE "+name); err != nil {
		tb.Fatal(err)
	}
	u := parsed(tb, server.DSN)
	u.Path = "/" + name
	return u.String()
}

// Database is a service's database as the test looks into it.
func (s *Suite) Database(tb testing.TB, service string) *sql.DB {
	tb.Helper()
	return opened(tb, s.Stores.Databases[service])
}

// dsn is how a service reaches its database.
func (s *Suite) dsn(service string) string {
	dsn := s.Stores.Databases[service]
	if s.Line == nil {
		return dsn
	}
	u := parsed(s.tb, dsn)
	u.Host = s.Line.Addr
	return u.String()
}

func opened(tb testing.TB, dsn string) *sql.DB {
	tb.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() }) // nothing is in flight
	return db
}

func parsed(tb testing.TB, dsn string) *url.URL {
	tb.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}
