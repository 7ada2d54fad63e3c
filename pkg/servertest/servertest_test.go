package servertest_test

import (
	"net"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

func TestPostgresServerSurvivesKill(t *testing.T) {
	t.Parallel()
	p := servertest.PostgresServer(t)
	db := servertest.Open(t, p.DSN)
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE a AS SELECT 1 AS n"); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	if err := db.Ready(t.Context()); err == nil {
		t.Error("a killed server answers")
	}
	p.Start()
	p.Stop()
	p.Start()
	var n int
	if err := servertest.Open(t, p.DSN).QueryRowContext(t.Context(), "SELECT n FROM a").Scan(&n); err != nil || n != 1 {
		t.Errorf("n = %d, %v", n, err)
	}
}

func ask(t *testing.T, addr, command string) (string, error) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := c.Write([]byte(command + "\r\n")); err != nil {
		return "", err
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	return string(b[:n]), err
}

func TestRedisServerAndProxy(t *testing.T) {
	t.Parallel()
	r := servertest.RedisServer(t)
	link := servertest.Proxy(t, r.Addr)
	want := func(command, answer string) {
		t.Helper()
		if got, err := ask(t, link.Addr, command); got != answer {
			t.Errorf("%s = %q, %v, want %q", command, got, err, answer)
		}
	}
	want("SET a 1", "+OK\r\n")
	r.Kill()
	want("GET a", "")
	r.Start()
	want("GET a", "$1\r\n1\r\n")
	link.CutReplies()
	want("INCR a", "")
	link.Restore()
	want("GET a", "$1\r\n2\r\n")
	link.Cut()
	want("GET a", "")
	link.Restore()
	want("INCR a", ":3\r\n")
	r.Stop()
	want("GET a", "")
}
