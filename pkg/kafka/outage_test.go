package kafka_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

func (b *bundle) awaitHealthy(c *kafka.Consumer) {
	b.t.Helper()
	b.await("health", func() (bool, string) {
		if err := c.Health(); err != nil {
			return false, err.Error()
		}
		return true, ""
	})
}

// awaitOutage returns when the consumer says that it is unwell, and its partitions have tried again a few times or, with
// Kafka away, have lost their group.
func (b *bundle) awaitOutage(c *kafka.Consumer) {
	b.t.Helper()
	b.await("outage", func() (bool, string) {
		waits, _ := b.metric("floodgate.consumer.waits")
		return c.Health() != nil && (waits >= 10 || b.said.has("waiting for the group")), "going well"
	})
}

// survives sends before, during and after an outage, and checks that it cost nothing but time.
func (b *bundle) survives(c *kafka.Consumer, cut, restore func(), sendWhile bool) {
	b.t.Helper()
	b.start(c.Run)
	b.send(topic, numbered(0, 100)...)
	b.awaitSeen(100)
	b.awaitHealthy(c)
	cut()
	if sendWhile {
		b.send(topic, numbered(100, 100)...)
	}
	b.awaitOutage(c)
	restore()
	if !sendWhile {
		b.send(topic, numbered(100, 100)...)
	}
	b.awaitSeen(200)
	b.awaitHealthy(c)
	b.once()
	b.blamesNobody()
	b.balance()
}

func TestTheDatabaseGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	brokers, prefix := servertest.Kafka(t)
	cfg := kafka.Defaults()
	cfg.Brokers, cfg.TopicPrefix = brokers, prefix
	dsn, err := url.Parse(servertest.PostgresDSN(t))
	if err != nil {
		t.Fatal(err)
	}
	b := prepare(t, cfg, dsn.String())
	link := servertest.Proxy(t, dsn.Host)
	dsn.Host = link.Addr
	c := b.consumer(func(c *kafka.ConsumerConfig) { c.DB = servertest.Open(t, dsn.String()) })
	b.survives(c, link.Cut, link.Restore, true)
}

// gate is a broker's door that a test can close.
type gate struct {
	net.Listener

	mu     sync.Mutex // guards all below
	conns  []net.Conn
	closed bool
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if conn := (&tap{Conn: conn}); g.admits(conn) {
			return conn, nil
		}
		_ = conn.Close()
	}
}

// tap is a connection that remembers what the broker heard.
type tap struct {
	net.Conn

	mu    sync.Mutex // guards heard
	heard bytes.Buffer
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard.Write(p[:n])
	return n, err
}

func (g *gate) admits(conn net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.conns = append(g.conns, conn)
	}
	return !g.closed
}

// set closes the gate and what came through it, or opens it.
func (g *gate) set(closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = closed
	for _, c := range g.conns {
		_ = c.Close()
	}
	g.conns = nil
}

func gated(t *testing.T) (*bundle, *gate) {
	t.Helper()
	g := &gate{}
	b := embedded(t, kfake.ListenFn(func(network, address string) (net.Listener, error) {
		ln, err := net.Listen(network, address)
		g.Listener = ln
		return g, err
	}))
	return b, g
}

func TestKafkaGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	b, g := gated(t)
	b.survives(b.consumer(), func() { g.set(true) }, func() {
		b.await("a lost group", func() (bool, string) { return b.said.has("waiting for the group"), "a member" })
		g.set(false)
	}, false)
}

// A database may give up a transaction, or a connection, for reasons that are nobody's: the batch runs again.
func TestFaultsOfNobodyRunAgain(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.start(b.consumer().Run)
		var want int64
		for _, fault := range []struct {
			err   error
			times int64
		}{
			{&pgconn.PgError{Code: "40P01"}, 12}, // more than one call of DB.Tx tries
			{&pgconn.PgError{Code: "40001"}, kafka.MaxAttempts + 1},
			{&pgconn.PgError{Code: "55P03"}, kafka.MaxAttempts + 1},
			{&pgconn.PgError{Code: "57014"}, kafka.MaxAttempts + 1},
			{&pgconn.PgError{Code: "57P01"}, kafka.MaxAttempts + 1},
			{io.ErrUnexpectedEOF, kafka.MaxAttempts + 1},
		} {
			var left atomic.Int64
			left.Store(fault.times)
			b.fails(func(v string) error {
				if v == "5" && left.Add(-1) >= 0 {
					return fmt.Errorf("book: %w", fault.err)
				}
				return nil
			})
			b.send(topic, numbered(0, 10)...)
			want += 10
			b.awaitPassed(want)
		}
		b.blamesNobody()
		b.balance()
	})
}

// A parked record's attempt that failed by nobody's fault was none.
func TestFaultsOfNobodyTakeNoAttempt(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		var tries atomic.Int64
		b.fails(func(string) error {
			switch n := tries.Add(1); {
			case n == 1:
				return errHurt
			case n < 14:
				return &pgconn.PgError{Code: "40001"}
			}
			return nil
		})
		b.send(topic, numbered(0, 1)...)
		b.start(b.consumer().Run)
		b.awaitSeen(1)
		b.await("settling", func() (bool, string) { return b.count(`SELECT count(*) FROM parked`) == 0, "parked" })
		if n := b.count(`SELECT sum(dead) FROM consumer_offsets`); n != 0 {
			t.Error("a record is dead of a lost race")
		}
		b.balance()
	})
}
