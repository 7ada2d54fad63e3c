package run

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// opsDoor answers /readyz with status and says why, until the test ends.
func opsDoor(t *testing.T, status int, says string) (port int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, says, status) })
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- ServeHTTP(ctx, listener, &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}, time.Second)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().(*net.TCPAddr).Port
}

// nobody is a port that nobody listens on.
func nobody(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

func TestHealthAsksTheOperationsDoor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		host string
		port func(*testing.T) int
		code int
		says string
	}{
		"Ready":          {"127.0.0.1", func(t *testing.T) int { return opsDoor(t, 200, "ok") }, 0, "ready\n"},
		"OnEveryAddress": {"0.0.0.0", func(t *testing.T) int { return opsDoor(t, 200, "ok") }, 0, "ready\n"},
		"NotReady": {
			"127.0.0.1", func(t *testing.T) int { return opsDoor(t, 503, "[-] database: away\nnot ready") }, 1,
			"503 Service Unavailable: [-] database: away\nnot ready\n",
		},
		"NobodyThere": {"127.0.0.1", nobody, 1, "does not answer: "},
		"BadSettings": {"127.0.0.1", func(*testing.T) int { return 0 }, 1, "ops_port is 0: a port is between 1 and 65535"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := service(func(context.Context, settings) error { return errors.New("health served") })
			s.Defaults.ListenHost, s.Defaults.OpsPort = c.host, c.port(t)
			code, stdout, stderr := call(t, s, "health")
			if code != c.code || !strings.Contains(stdout+stderr, c.says) || (code == 0) != (stderr == "") {
				t.Errorf("exit %d, want %d with %q\n%s%s", code, c.code, c.says, stdout, stderr)
			}
		})
	}
}

func TestOwnDoorIsReachedWhereverItListens(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"127.0.0.1": "127.0.0.1:9182", "0.0.0.0": "127.0.0.1:9182", "::": "[::1]:9182", "10.1.2.3": "10.1.2.3:9182", "points.local": "points.local:9182",
	} {
		if got := (Config{ListenHost: host, OpsPort: 9182}).ownOps(); got != want {
			t.Errorf("listening on %s it asks %s, want %s", host, got, want)
		}
	}
}
