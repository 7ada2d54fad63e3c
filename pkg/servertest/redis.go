package servertest

import (
	"bufio"
	"net"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// RedisProcess is a Redis of the test's own, to be stopped, killed and emptied as it likes.
type RedisProcess struct {
	Addr string
	Dir  string // its data: appendonlydir, and dump.rdb when it was told to write one

	process process
}

// RedisServer starts a Redis with an append-only file on a free loopback port. It ends with the test.
func RedisServer(tb testing.TB) *RedisProcess {
	tb.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		tb.Fatalf("redis-server is not installed: run `make servers` first (%v)", err)
	}
	port, dir := strconv.Itoa(FreePort(tb)), tb.TempDir()
	r := &RedisProcess{Addr: net.JoinHostPort("127.0.0.1", port), Dir: dir}
	r.process = process{tb: tb, name: "redis-server", addr: r.Addr, command: func() *exec.Cmd {
		return exec.CommandContext(tb.Context(), program, "--port", port, "--bind", "127.0.0.1", "--appendonly", "yes", "--save", "", "--dir", dir) //nolint:gosec // what the test starts
	}}
	tb.Cleanup(func() {
		if err := r.process.end(syscall.SIGKILL); err != nil {
			tb.Error(err)
		}
	})
	r.Start()
	return r
}

// Start starts it again, with the data it had, and waits until it answers.
func (r *RedisProcess) Start() {
	r.process.tb.Helper()
	r.process.start()
	r.process.await("load its data", r.pong)
}

// pong says that it takes commands; while it loads it answers and takes none.
func (r *RedisProcess) pong() bool {
	c, err := dial(r.Addr)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Second)) // of a TCP connection it does not fail
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, _ := bufio.NewReader(c).ReadString('\n')
	return line == "+PONG\r\n"
}

// Stop ends it in good order.
func (r *RedisProcess) Stop() { r.process.tb.Helper(); r.end(syscall.SIGTERM) }

// Kill ends it by kill -9.
func (r *RedisProcess) Kill() { r.process.tb.Helper(); r.end(syscall.SIGKILL) }

func (r *RedisProcess) end(sig syscall.Signal) {
	r.process.tb.Helper()
	if err := r.process.end(sig); err != nil {
		r.process.tb.Fatal(err)
	}
}
