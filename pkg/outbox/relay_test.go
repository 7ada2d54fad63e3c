package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

// broker is a Sender that remembers; fail, when set, is asked first.
type broker struct {
	mu   sync.Mutex // guards all
	got  []outbox.Message
	fail func([]outbox.Message) error
}

func (b *broker) Send(_ context.Context, messages []outbox.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		if err := b.fail(messages); err != nil {
			return err
		}
	}
	b.got = append(b.got, messages...)
	return nil
}

func (b *broker) failWith(fail func([]outbox.Message) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = fail
}

func (b *broker) messages() []outbox.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

// count is how often each event id arrived.
func (b *broker) count() map[string]int {
	n := map[string]int{}
	for _, m := range b.messages() {
		n[header(m, "ce_id")]++
	}
	return n
}

func header(m outbox.Message, key string) string {
	i := slices.IndexFunc(m.Headers, func(h outbox.Header) bool { return h.Key == key })
	if i < 0 {
		return ""
	}
	return string(m.Headers[i].Value)
}

// start runs a relay until the test ends or stop is called.
func start(t testing.TB, db *database.DB, to outbox.Sender) (relay *outbox.Relay, stop func()) {
	t.Helper()
	return run(t, outbox.RelayConfig{DB: db, Sender: to, Source: "/test", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
}

func run(t testing.TB, cfg outbox.RelayConfig) (relay *outbox.Relay, stop func()) {
	t.Helper()
	relay = outbox.NewRelay(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- relay.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return relay, stop
}

// eventually polls until holds says so.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func quiet(t testing.TB, db *database.DB) func() bool {
	t.Helper()
	return func() bool {
		n, err := outbox.Unsent(t.Context(), db)
		return err == nil && n == 0
	}
}

func event(key string, version int) outbox.Event {
	return outbox.Event{
		ID: fmt.Sprintf("%s/%d", key, version), Type: "test.v1.Moved", Topic: "moves", Key: []byte(key),
		Value: []byte("v"), Version: int64(version),
	}
}

// versions fails unless each key's events first arrived as 1, 2, 3 … up to its last.
func versions(t testing.TB, got []outbox.Message, last map[string]int) {
	t.Helper()
	next := map[string]int{}
	for _, m := range got {
		key, v := string(m.Key), 0
		if _, err := fmt.Sscan(header(m, "aggregate-version"), &v); err != nil {
			t.Fatalf("version of %s: %v", key, err)
		}
		if v > next[key]+1 {
			t.Fatalf("%s: version %d came after %d", key, v, next[key])
		}
		next[key] = max(next[key], v)
	}
	if !maps.Equal(next, last) {
		t.Errorf("arrived up to %v, want %v", next, last)
	}
}

func TestMessagesAreWholeOnBothDatabases(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		migrated(t, db)
		b := &broker{}
		relay, _ := start(t, db, b)
		tid, _ := trace.TraceIDFromHex("0af7651916cd43dd8448eb211c80319c")
		sid, _ := trace.SpanIDFromHex("b7ad6b7169203331")
		ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: tid, SpanID: sid, TraceFlags: 1}))
		raw := outbox.Event{
			ID: "raw", Topic: "dlq-raw-errors", Key: []byte{0, 0xff}, Value: nil,
			Headers: []outbox.Header{{Key: "a\x00\xff", Value: []byte{0, 0xfe}}, {Key: "null"}, {Key: "empty", Value: []byte{}}, {Key: "a\x00\xff", Value: []byte("again")}},
		}
		typed := event("k", 7)
		typed.Headers = []outbox.Header{{Key: "x", Value: []byte("y")}}
		err := db.Tx(ctx, func(tx *database.Tx) error { return outbox.AppendTx(ctx, tx, raw, typed) })
		if err != nil {
			t.Fatal(err)
		}
		relay.Wake()
		eventually(t, "both arrive", func() bool { return len(b.messages()) == 2 })
		got := b.messages()
		if !slices.EqualFunc(got[0].Headers, raw.Headers, func(x, y outbox.Header) bool {
			return x.Key == y.Key && string(x.Value) == string(y.Value) && (x.Value == nil) == (y.Value == nil)
		}) || string(got[0].Key) != string(raw.Key) || got[0].Value != nil {
			t.Errorf("raw arrived as %q", got[0])
		}
		for key, want := range map[string]string{
			"ce_specversion": "1.0", "ce_id": "k/7", "ce_type": "test.v1.Moved", "ce_source": "/test",
			"content-type": "application/protobuf", "aggregate-version": "7", "x": "y", "tracestate": "",
			"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		} {
			if have := header(got[1], key); have != want {
				t.Errorf("%s = %q, want %q", key, have, want)
			}
		}
		if at, err := time.Parse(time.RFC3339, header(got[1], "ce_time")); err != nil || time.Since(at) > time.Minute {
			t.Errorf("ce_time = %v, %v", at, err)
		}
		eventually(t, "the relay is healthy", func() bool { return relay.Health() == nil })
		eventually(t, "nothing is unsent", quiet(t, db))
	})
}

// A row's lock orders the writers of a key, as the aggregates' rows do; ids and transaction numbers come in any order.
func TestNoEventIsLostWithSlowTransactionsAndFourRelays(t *testing.T) {
	t.Parallel()
	dsn := servertest.PostgresDSN(t)
	db := migrated(t, servertest.Open(t, dsn))
	ctx := t.Context()
	if _, err := db.ExecContext(ctx, `CREATE TABLE aggregates (key text PRIMARY KEY, version bigint NOT NULL)`); err != nil {
		t.Fatal(err)
	}
	const keys, writers, commits = 60, 12, 100
	for k := range keys {
		if _, err := db.ExecContext(ctx, `INSERT INTO aggregates VALUES ($1, 0)`, fmt.Sprint("k", k)); err != nil {
			t.Fatal(err)
		}
	}
	b := &broker{}
	for range 4 {
		start(t, servertest.Open(t, dsn), b)
	}
	var tries atomic.Int64
	move := func(db *database.DB, key string, hold func()) error {
		return db.Tx(ctx, func(tx *database.Tx) error {
			// An id and a transaction number are taken before the lock is waited for: the worst order for a reader.
			if err := outbox.AppendTx(ctx, tx, outbox.Event{ID: "early-" + servertest.Unique(), Topic: "early"}); err != nil {
				return err
			}
			var v int
			err := tx.QueryRowContext(ctx, `UPDATE aggregates SET version = version + 1 WHERE key = $1 RETURNING version`, key).Scan(&v)
			if err != nil {
				return err
			}
			if err := outbox.AppendTx(ctx, tx, event(key, v)); err != nil {
				return err
			}
			hold()
			if key != "k0" && tries.Add(1)%10 == 0 { // what is rolled back must not be seen
				return errRolledBack
			}
			return nil
		})
	}
	held, release := make(chan struct{}), make(chan struct{})
	var wg, slow sync.WaitGroup
	slow.Go(func() {
		err := move(servertest.Open(t, dsn+"&idle_in_transaction_session_timeout=0"), "k0", func() {
			close(held)
			<-release
		})
		if err != nil {
			t.Errorf("slow: %v", err)
		}
	})
	<-held
	for w := range writers {
		wg.Go(func() {
			for c := range commits {
				key := fmt.Sprint("k", 1+(w*31+c*7)%(keys-1))
				if err := move(db, key, func() {}); err != nil && !errors.Is(err, errRolledBack) {
					t.Errorf("move: %v", err)
				}
			}
		})
	}
	wg.Wait()
	close(release)
	slow.Wait()
	eventually(t, "nothing is unsent", quiet(t, db))
	last, rows := map[string]int{}, 0
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM outbox`).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	all, err := db.QueryContext(ctx, `SELECT key, version FROM aggregates WHERE version > 0`)
	if err != nil {
		t.Fatal(err)
	}
	for all.Next() {
		var key string
		var v int
		if err := all.Scan(&key, &v); err != nil {
			t.Fatal(err)
		}
		last[key] = v
	}
	if err := all.Close(); err != nil {
		t.Fatal(err)
	}
	got := b.messages()
	if len(got) != rows || rows < writers*commits*3/2 {
		t.Errorf("%d messages for %d rows", len(got), rows)
	}
	versions(t, slices.DeleteFunc(got, func(m outbox.Message) bool { return m.Topic == "early" }), last)
}

var errRolledBack = errors.New("rolled back by the test")

func TestSendFailuresAreRetriedAndStopOnlyTheirShard(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		migrated(t, db)
		b := &broker{}
		away := errors.New("kafka is away")
		b.failWith(func([]outbox.Message) error { return away })
		relay, _ := start(t, db, b)
		for k := range 40 {
			if err := appendEvents(t, db, event(fmt.Sprint("k", k), 1), event(fmt.Sprint("k", k), 2)); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "health says what is wrong", func() bool { return errors.Is(relay.Health(), away) })
		b.failWith(func(m []outbox.Message) error {
			if db.Dialect == database.Postgres && slices.ContainsFunc(m, func(m outbox.Message) bool { return string(m.Key) == "k0" }) {
				return away
			}
			return nil
		})
		healthy := func() int {
			n := 0
			for id := range b.count() {
				if id[:2] != "k0" {
					n++
				}
			}
			return n
		}
		if db.Dialect == database.Postgres {
			eventually(t, "shards beside the failing one go on", func() bool { return healthy() > 60 })
			if relay.Health() == nil {
				t.Error("healthy while a shard fails")
			}
		}
		b.failWith(nil)
		eventually(t, "nothing is unsent", quiet(t, db))
		last := map[string]int{}
		for k := range 40 {
			last[fmt.Sprint("k", k)] = 2
		}
		versions(t, b.messages(), last)
		eventually(t, "health is good again", func() bool { return relay.Health() == nil })
	})
}

// dead is a broker whose relay is killed after the records were written and before the cursor moved.
type dead struct {
	*broker
	die func()
}

func (d dead) Send(ctx context.Context, messages []outbox.Message) error {
	_ = d.broker.Send(ctx, messages)
	d.die()
	<-ctx.Done()
	return ctx.Err()
}

func TestKilledBetweenSendAndCursorSendsAgainTheSame(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		migrated(t, db)
		b := &broker{}
		died := make(chan struct{})
		_, stop := start(t, db, dead{b, func() { close(died) }})
		if err := appendEvents(t, db, event("k", 1), event("k", 2)); err != nil {
			t.Fatal(err)
		}
		<-died
		stop()
		if n, err := outbox.Unsent(t.Context(), db); err != nil || n != 2 {
			t.Fatalf("unsent = %d, %v, want 2", n, err)
		}
		start(t, db, b)
		eventually(t, "both were sent again", func() bool {
			n := b.count()
			return n["k/1"] == 2 && n["k/2"] == 2
		})
	})
}

func owned(t testing.TB, db *database.DB) map[int]int {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), outbox.Owned)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	by := map[int]int{}
	for rows.Next() {
		var pid, n int
		if err := rows.Scan(&pid, &n); err != nil {
			t.Fatal(err)
		}
		by[pid] = n
	}
	return by
}

func TestRelaysShareShardsAndTakeOver(t *testing.T) {
	t.Parallel()
	dsn := servertest.PostgresDSN(t)
	db := migrated(t, servertest.Open(t, dsn))
	b := &broker{}
	shares := func(want ...int) func() bool {
		return func() bool { return slices.Equal(slices.Sorted(maps.Values(owned(t, db))), want) }
	}
	_, stop := start(t, servertest.Open(t, dsn), b)
	eventually(t, "one relay owns all", shares(16))
	start(t, servertest.Open(t, dsn), b)
	start(t, servertest.Open(t, dsn), b)
	eventually(t, "three relays share", shares(5, 5, 6))
	stop()
	eventually(t, "two relays share what the third gave up", shares(8, 8))
	for pid := range owned(t, db) {
		if _, err := db.ExecContext(t.Context(), `SELECT pg_terminate_backend($1)`, pid); err != nil {
			t.Fatal(err)
		}
		break
	}
	last := map[string]int{}
	for k := range 40 {
		last[fmt.Sprint("k", k)] = 1
		if err := appendEvents(t, db, event(fmt.Sprint("k", k), 1)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "nothing is unsent though a connection was cut", quiet(t, db))
	eventually(t, "the one that was cut is back", shares(8, 8))
	versions(t, b.messages(), last)
}

// stuck is a broker that never answers; left closes when its caller gives up.
type stuck struct{ asked, left chan struct{} }

func (s stuck) Send(ctx context.Context, _ []outbox.Message) error {
	close(s.asked)
	<-ctx.Done()
	close(s.left)
	return ctx.Err()
}

func TestARelayThatLosesItsConnectionGivesUpItsSend(t *testing.T) {
	t.Parallel()
	dsn := servertest.PostgresDSN(t)
	db := migrated(t, servertest.Open(t, dsn))
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	link := servertest.Proxy(t, u.Host)
	u.Host = link.Addr
	s := stuck{make(chan struct{}), make(chan struct{})}
	relay, stop := start(t, servertest.Open(t, u.String()), s)
	if err := appendEvents(t, db, event("k", 1)); err != nil {
		t.Fatal(err)
	}
	<-s.asked
	link.Cut()
	select {
	case <-s.left:
	case <-time.After(15 * time.Second):
		t.Fatal("the send goes on without the shards")
	}
	eventually(t, "its health says so", func() bool { return relay.Health() != nil })
	b := &broker{}
	start(t, db, b)
	eventually(t, "another relay sends", func() bool { return b.count()["k/1"] == 1 })
	stop()
}
