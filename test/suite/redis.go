package suite

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a server of the test's own: it may be wiped, killed, and given an old memory.
type Redis struct {
	*Process
	Addr string
	dir  string
}

// StartRedis starts an empty server that writes nothing to disk unless it is asked to.
func StartRedis(tb testing.TB) *Redis {
	tb.Helper()
	port, dir := freePorts(tb, 1)[0], tb.TempDir()
	r := &Redis{Addr: "127.0.0.1:" + port, dir: dir, Process: NewProcess(tb, "redis", "redis-server", "--port", port,
		"--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir, "--dbfilename", "dump.rdb")}
	r.Process.Start()
	r.WaitReady()
	return r
}

// Start starts the server again and waits until it answers.
func (r *Redis) Start() {
	r.tb.Helper()
	r.Process.Start()
	r.WaitReady()
}

// WaitReady returns when the server answers.
func (r *Redis) WaitReady() {
	r.tb.Helper()
	WaitFor(r.tb, 10*time.Second, func() error {
		return r.with(func(c *redis.Client) error { return c.Ping(context.Background()).Err() })
	})
}

// Wipe is FLUSHALL; it says how many keys were lost.
func (r *Redis) Wipe() int64 {
	r.tb.Helper()
	var keys int64
	err := r.with(func(c *redis.Client) (err error) {
		if keys, err = c.DBSize(context.Background()).Result(); err != nil {
			return err
		}
		return c.FlushAll(context.Background()).Err()
	})
	if err != nil {
		r.tb.Fatalf("wipe Redis: %v", err)
	}
	return keys
}

// Dump remembers everything as it stands, for Restore.
func (r *Redis) Dump() []byte {
	r.tb.Helper()
	if err := r.with(func(c *redis.Client) error { return c.Save(context.Background()).Err() }); err != nil {
		r.tb.Fatalf("dump Redis: %v", err)
	}
	dump, err := os.ReadFile(filepath.Join(r.dir, "dump.rdb"))
	if err != nil {
		r.tb.Fatal(err)
	}
	return dump
}

// Restore kills the server and starts it with the memory of an earlier Dump.
func (r *Redis) Restore(dump []byte) {
	r.tb.Helper()
	r.Kill()
	if err := os.WriteFile(filepath.Join(r.dir, "dump.rdb"), dump, 0o600); err != nil {
		r.tb.Fatal(err)
	}
	r.Start()
}

func (r *Redis) with(do func(*redis.Client) error) error {
	c := redis.NewClient(&redis.Options{Addr: r.Addr, MaxRetries: -1})
	defer func() { _ = c.Close() }() // nothing is in flight
	return do(c)
}
