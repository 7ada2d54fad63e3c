// Package redistest gives a test a Redis process of its own, which it may stop, wipe and start again without disturbing
// anybody.
package redistest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/redisdb"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/shield"
)

// Server is a Redis process on a port that stays the same over restarts. It remembers nothing over them.
type Server struct {
	Addr string

	tb    testing.TB
	extra []string // arguments beyond the usual
	cmd   *exec.Cmd
}

// New starts a Redis and stops it when the test ends.
func New(tb testing.TB) *Server {
	tb.Helper()
	return start(tb, freeAddr(tb))
}

// NewCluster starts a Redis Cluster of one node, which holds callers to its slots as a large one would.
func NewCluster(tb testing.TB) *Server {
	tb.Helper()
	addr := freeAddr(tb)
	_, bus, _ := strings.Cut(freeAddr(tb), ":")
	s := start(tb, addr, "--cluster-enabled", "yes", "--cluster-port", bus)
	client := s.Client()
	if err := client.ClusterAddSlotsRange(tb.Context(), 0, 16383).Err(); err != nil {
		tb.Fatal(err)
	}
	s.await("the cluster is not formed", func() bool {
		return strings.Contains(client.ClusterInfo(tb.Context()).Val(), "cluster_state:ok")
	})
	return s
}

// NewSentinel starts a sentinel that knows master by name.
func NewSentinel(tb testing.TB, master *Server, name string) *Server {
	tb.Helper()
	host, port, _ := strings.Cut(master.Addr, ":")
	file := filepath.Join(tb.TempDir(), "sentinel.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, "sentinel monitor %s %s %s 1\n", name, host, port), 0o600); err != nil {
		tb.Fatal(err)
	}
	s := &Server{Addr: freeAddr(tb), tb: tb}
	_, own, _ := strings.Cut(s.Addr, ":")
	s.launch(file, "--sentinel", "--port", own, "--bind", "127.0.0.1")
	tb.Cleanup(s.Stop)
	return s
}

func start(tb testing.TB, addr string, extra ...string) *Server {
	tb.Helper()
	s := &Server{Addr: addr, tb: tb, extra: extra}
	s.Start()
	tb.Cleanup(s.Stop)
	return s
}

func freeAddr(tb testing.TB) string {
	tb.Helper()
	var lc net.ListenConfig
	free, err := lc.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = free.Close() }()
	return free.Addr().String()
}

// Start starts the process and waits until it answers.
func (s *Server) Start() {
	s.tb.Helper()
	_, port, _ := strings.Cut(s.Addr, ":")
	s.launch(append([]string{
		"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", s.tb.TempDir(),
	}, s.extra...)...)
}

func (s *Server) launch(args ...string) {
	s.tb.Helper()
	s.cmd = exec.CommandContext(s.tb.Context(), "redis-server", args...) //nolint:gosec // a fixed command on a port of ours
	if err := s.cmd.Start(); err != nil {
		s.tb.Fatalf("start redis-server (is it installed? `make servers` does): %v", err)
	}
	client := s.Client()
	s.await("redis-server does not answer", func() bool { return client.Ping(context.Background()).Err() == nil })
}

func (s *Server) await(complaint string, ok func() bool) {
	s.tb.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			s.tb.Fatal(complaint)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// Stop kills the process; what it knew is gone.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it says that it was killed
	s.cmd = nil
}

// Freeze stops the process without ending it: connections stand and nothing answers.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw lets it go on.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig os.Signal) {
	s.tb.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.tb.Fatal(err)
	}
}

// Client is a plain client of the server, for a test to look and meddle with.
func (s *Server) Client() *redis.Client {
	s.tb.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.Addr})
	s.tb.Cleanup(func() { _ = client.Close() })
	return client
}

// At is how a test reaches the Redis at addr. It has patience with a busy machine, which is not what most tests try.
func At(addr string) redisdb.Config {
	return redisdb.Config{Addrs: []string{addr}, Patience: 10 * time.Second}
}

// Hurried is At with the patience of a service, for tests of a Redis that does not answer.
func Hurried(addr string) redisdb.Config {
	cfg := redisdb.Defaults()
	cfg.Addrs = []string{addr}
	return cfg
}

// Open opens a client as cfg says, and closes it when the test ends.
func Open(tb testing.TB, cfg redisdb.Config) redis.UniversalClient {
	tb.Helper()
	client := redisdb.Open(cfg)
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// Guard puts the breakers that are built in before client, which has the patience of cfg.
func Guard(tb testing.TB, client redis.UniversalClient, cfg redisdb.Config) *redisdb.Guard {
	tb.Helper()
	s, err := shield.New(shield.Config{}, shield.Observers{Log: slog.New(slog.DiscardHandler), Meter: noop.NewMeterProvider()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return redisdb.NewGuard(client, s.Door(shield.Redis), cfg.Patience)
}
