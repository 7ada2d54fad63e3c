package database_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

func TestConfigComplains(t *testing.T) {
	t.Parallel()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for complaint, cfg := range map[string]database.Config{
		"database_dsn is empty":                     {},
		"database_max_conns is 3":                   {DSN: "sqlite:x", MaxConns: 3},
		"need a database_dsn that begins with":      {DSN: "sqlite:x", Password: "secret"},
		"sslmode=verify-full or verify-ca":          {DSN: "postgres://h/d?sslmode=require", TLSCAFile: ca},
		"database_tls_ca_file: stat":                {DSN: "postgres://h/d", TLSCAFile: ca + "x"},
		"database_dsn: ":                            {DSN: "postgres://h/d", TLSCAFile: ca}, // the driver finds no certificate in it
		"database_dsn must begin with sqlite: or p": {DSN: "mysql://h/d"},
	} {
		if cfg.MaxConns == 0 {
			cfg.MaxConns = 4
		}
		if bad := cfg.Check(); len(bad) != 1 || !strings.Contains(bad[0], complaint) {
			t.Errorf("%v: complaints %q, want one with %q", cfg, bad, complaint)
		}
	}
}

// TestServerIsKnownByItsAuthorityAndUserByThePassword logs in over TLS, as a role whose password would break an address.
func TestServerIsKnownByItsAuthorityAndUserByThePassword(t *testing.T) {
	t.Parallel()
	server := servertest.PostgresServer(t)
	cert, key := servertest.Certificate(t)
	encrypt(t, server, cert, key)

	at, err := url.Parse(server.DSN)
	if err != nil {
		t.Fatal(err)
	}
	at.User, at.RawQuery = url.UserPassword("nobody", "wrong"), ""
	login := func(change func(*database.Config)) (who string, err error) {
		cfg := database.Config{DSN: config.Secret(at.String()), Username: "app", Password: odd, TLSCAFile: cert, MaxConns: 4}
		change(&cfg)
		if bad := cfg.Check(); bad != nil {
			t.Errorf("complaints %q", bad)
		}
		db, err := database.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		err = db.QueryRowContext(t.Context(), "SELECT current_user FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl").Scan(&who)
		return who, err
	}
	if who, err := login(func(*database.Config) {}); err != nil || who != "app" {
		t.Errorf("logged in as %q (%v), want app over TLS", who, err)
	}
	if _, err := login(func(c *database.Config) { c.Password = "wrong" }); err == nil {
		t.Error("a wrong password is good enough")
	}
	other, _ := servertest.Certificate(t)
	if _, err := login(func(c *database.Config) { c.TLSCAFile = other }); err == nil || !strings.Contains(err.Error(), "x509") {
		t.Errorf("a server of another authority: %v, want x509's refusal", err)
	}
}

const odd = "p@ss/w%rd?"

// encrypt makes a server take the role app over TLS alone, with the password odd.
func encrypt(t *testing.T, server *servertest.PostgresProcess, cert, key string) {
	t.Helper()
	owner := servertest.Open(t, server.DSN)
	for name, from := range map[string]string{"server.crt": cert, "server.key": key} {
		pem, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		// Written by the server: it takes no key that others could read or own.
		if _, err := owner.ExecContext(t.Context(), `COPY (SELECT regexp_split_to_table('`+strings.TrimSpace(string(pem))+`', E'\n')) TO PROGRAM 'umask 077; cat >`+name+`'`); err != nil {
			t.Fatal(err)
		}
	}
	rules := "hostssl all app 127.0.0.1/32 scram-sha-256\nhost all floodgate 127.0.0.1/32 trust\n"
	if err := os.WriteFile(filepath.Join(server.Dir, "pg_hba.conf"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"CREATE ROLE app LOGIN PASSWORD '" + odd + "'", "ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"} {
		if _, err := owner.ExecContext(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 { // the server reads its files when it comes to it
		var on bool
		if err := owner.QueryRowContext(t.Context(), "SELECT setting = 'on' FROM pg_settings WHERE name = 'ssl'").Scan(&on); err != nil {
			t.Fatal(err)
		}
		if on {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Fatal("the server does not turn TLS on")
}
