package kafka_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	segment "github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
)

// freezer is a tracer that holds a consumer where its first batch's span begins: records in hand, no transaction yet.
type freezer struct {
	noop.TracerProvider
	once         sync.Once
	frozen, thaw chan struct{}
}

func (f *freezer) Tracer(string, ...trace.TracerOption) trace.Tracer { return freezing{f: f} }

type freezing struct {
	noop.Tracer
	f *freezer
}

func (t freezing) Start(ctx context.Context, name string, o ...trace.SpanStartOption) (context.Context, trace.Span) {
	t.f.once.Do(func() { close(t.f.frozen); <-t.f.thaw })
	return t.Tracer.Start(ctx, name, o...)
}

// recorded gives messages a trace that is recorded: a span is begun of those alone, and a freezer freezes there.
func recorded(messages []outbox.Message) []outbox.Message {
	for i := range messages {
		messages[i].Headers = append(messages[i].Headers,
			outbox.Header{Key: "traceparent", Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")})
	}
	return messages
}

// sameKey are n messages of one key, so of one partition.
func sameKey(from, n int) []outbox.Message {
	out := numbered(from, n)
	for i := range out {
		out[i].Key = []byte("key")
	}
	return out
}

// While a member is frozen with records in hand, somebody else applies them and moves the offset. The frozen one finds
// that out before it writes anything.
func TestALateMemberFindsTheOffsetMoved(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		f := &freezer{frozen: make(chan struct{}), thaw: make(chan struct{})}
		b.send(topic, recorded(sameKey(0, 10))...)
		b.start(b.consumer(func(c *kafka.ConsumerConfig) { c.Tracer = f }).Run)
		<-f.frozen
		records := b.records(topic, 10)
		b.must(b.db.Tx(t.Context(), func(tx *database.Tx) error {
			_, err := b.handle(t.Context(), tx, records)
			return err
		}))
		b.must(kafka.SetOffset(t.Context(), b.db, group, topic, records[0].Partition, 10))
		close(f.thaw)
		b.send(topic, sameKey(10, 10)...)
		b.awaitSeen(20)
		b.once()
		b.blamesNobody()
		b.balance()
	})
}

// A handler that heeds nothing keeps its transaction, and so the offset's row, past the session's timeout. The broker
// gives its partitions to another member and Postgres ends its session (law 7). SQLite has one writer and one process:
// there it would stop everything, and no other member could take over.
func TestAMemberThatHangsIsReplaced(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var once sync.Once
	hangs, thaw := make(chan struct{}), make(chan struct{})
	hung := b.consumer(func(c *kafka.ConsumerConfig) {
		c.Handle = func(ctx context.Context, tx *database.Tx, records []kafka.Record) ([]bool, error) {
			changed, err := b.handle(ctx, tx, records)
			once.Do(func() { close(hangs); <-thaw })
			return changed, err
		}
	})
	b.start(hung.Run)
	b.send(topic, sameKey(0, 10)...)
	<-hangs
	stop := b.start(b.consumer().Run)
	b.awaitSeen(10)
	close(thaw)
	stop() // what is left must be done by the one that hung
	b.send(topic, sameKey(10, 10)...)
	b.awaitSeen(20)
	b.once()
	b.blamesNobody()
	b.balance()
}

// Members come and go while every record arrives three times: each delivery is applied exactly once, and three
// deliveries make one fact.
func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		const facts, chunk = 300, 50
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		deliveries := slices.Repeat(numbered(0, facts), 3)
		random.Shuffle(len(deliveries), func(i, j int) { deliveries[i], deliveries[j] = deliveries[j], deliveries[i] })

		members := []func(){b.start(b.consumer().Run)}
		for sent := 0; sent < len(deliveries); sent += chunk {
			b.send(topic, deliveries[sent:sent+chunk]...)
			if i := random.IntN(4); i < len(members) && len(members) > 1 {
				members[i]()
				members = slices.Delete(members, i, i+1)
			} else {
				members = append(members, b.start(b.consumer().Run))
			}
			b.awaitPassed(int64(sent - chunk)) // the last two chunks meet the rebalance
		}
		b.awaitPassed(3 * facts)
		if n, times := b.count(`SELECT count(*) FROM seen`), b.count(`SELECT sum(times) FROM seen`); n != facts || times != 3*facts {
			t.Errorf("%d facts by %d deliveries, want %d by %d", n, times, facts, 3*facts)
		}
		b.blamesNobody()
		b.balance()
	})
}

// session is longer than anybody here waits.
const session = 5 * time.Minute

// killed joins the group and dies without a word: who joins next waits for the end of its session.
func (b *bundle) killed() {
	b.t.Helper()
	var dialer net.Dialer
	alive, kill := context.WithCancel(b.t.Context())
	defer kill()
	member, err := segment.NewConsumerGroup(segment.ConsumerGroupConfig{
		ID: b.cfg.TopicPrefix + group, Brokers: b.cfg.Brokers, Topics: []string{b.cfg.TopicPrefix + topic},
		SessionTimeout: session, RebalanceTimeout: session, GroupBalancers: []segment.GroupBalancer{segment.RoundRobinGroupBalancer{}},
		Dialer: &segment.Dialer{DialFunc: func(_ context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(alive, network, addr)
			if err == nil {
				context.AfterFunc(alive, func() { _ = conn.Close() })
			}
			return conn, err
		}},
	})
	b.must(err)
	defer func() { _ = member.Close() }()
	b.await("it joins", func() (bool, string) {
		_, err := member.Next(alive)
		return err == nil, fmt.Sprint(err)
	})
	kill()
}

// members is how many members the broker has heard of.
func (b *bundle) members() (n int, err error) {
	err = b.ask(func(ctx context.Context, c *segment.Client) error {
		said, err := c.DescribeGroups(ctx, &segment.DescribeGroupsRequest{GroupIDs: []string{b.cfg.TopicPrefix + group}})
		if err == nil {
			n = len(said.Groups[0].Members)
		}
		return err
	})
	return n, err
}

func (b *bundle) hasMembers(want int) {
	b.t.Helper()
	if n, err := b.members(); n != want || err != nil {
		b.t.Errorf("the group has %d members, want %d; %v", n, want, err)
	}
}

func (b *bundle) awaitMembers(want int) {
	b.t.Helper()
	b.await(fmt.Sprint(want, " members"), func() (bool, string) {
		n, err := b.members()
		return n == want, fmt.Sprint(n, err)
	})
}

func patient(c *kafka.ConsumerConfig) { c.Kafka.SessionTimeout = session }

// A member that waits for one that died is told to stop, and does: its service would be killed otherwise. It has left by then, for
// who joins next would wait for it too: when it had just come and has no name yet,
func TestStopWhileTheGroupWaitsForAnother(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.killed()
		b.stops(b.consumer(patient), func() { b.awaitMembers(2) }, func() {})
		b.hasMembers(1)
	})
}

// and when it was there before the one that died.
func TestStopWhileTheGroupForms(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.send(topic, numbered(0, 1)...)
		b.stops(b.consumer(patient), func() {
			b.awaitSeen(1)
			b.killed()
			b.start(b.consumer(patient).Run)
			b.awaitMembers(3)
			<-time.After(4 * time.Second) // it has heard of that, and joins anew
		}, func() {})
		b.hasMembers(2)
	})
}

// stops runs a consumer, stops it once ready returns, and bounds how long that takes: less than a second as a rule,
// more only on a busy machine or where the group waits.
func (b *bundle) stops(c *kafka.Consumer, ready, then func()) {
	b.t.Helper()
	ctx, stop := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	ready()
	stop()
	then()
	select {
	case err := <-ended:
		b.must(err)
	case <-time.After(8 * time.Second):
		b.t.Fatal("it did not stop within 8 s")
	}
}

func TestStopWhileAFetchWaits(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.send(topic, numbered(0, 1)...)
		b.stops(b.consumer(), func() { b.awaitSeen(1) }, func() {})
	})
}

func TestStopFinishesTheBatchInHand(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		begun, stopped := make(chan struct{}), make(chan struct{})
		c := b.consumer(func(c *kafka.ConsumerConfig) {
			c.Handle = func(ctx context.Context, tx *database.Tx, records []kafka.Record) ([]bool, error) {
				close(begun) // a second batch would panic
				<-stopped
				return b.handle(ctx, tx, records)
			}
		})
		b.send(topic, sameKey(0, 10)...)
		b.stops(c, func() { <-begun }, func() { close(stopped) })
		if n, next := b.count(`SELECT count(*) FROM seen`), b.count(`SELECT sum(next) FROM consumer_offsets`); n == 0 || n != next {
			t.Errorf("%d effects and %d records passed after the stop, want the batch and its offset", n, next)
		}
		b.balance()
	})
}

// onto are n messages of partition id, valued from, from + 1 …
func (b *bundle) onto(id, from, n int) []outbox.Message {
	out := numbered(from, n)
	for i := range out {
		for k := 0; ; k++ {
			if key := fmt.Appendf(nil, "to-%d", k); b.sentTo(key) == id {
				out[i].Key = key
				break
			}
		}
	}
	return out
}

// A round of several partitions of which one was lost: nothing of the round stands, the lost one's records are not applied
// again, and the others' are applied once.
func TestALostPartitionTakesNoOtherAlong(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		const more = "more-things"
		b.must(kafka.EnsureTopics(t.Context(), b.cfg, []string{more}, nil))
		f := &freezer{frozen: make(chan struct{}), thaw: make(chan struct{})}
		b.start(b.consumer(func(c *kafka.ConsumerConfig) { c.Topics, c.Tracer = append(c.Topics, more), f }).Run)
		b.send(topic, recorded(b.onto(0, 0, 1))...)
		<-f.frozen // with the turn, and no transaction yet
		b.await("all partitions taken", func() (bool, string) {
			n := b.count(`SELECT count(*) FROM consumer_offsets WHERE topic IN ($1, $2)`, topic, more)
			return n == 4, fmt.Sprint("only ", n)
		})
		b.send(topic, b.onto(1, 100, 10)...)
		b.send(more, b.onto(0, 200, 10)...)
		b.send(more, b.onto(1, 300, 10)...)
		lost := slices.DeleteFunc(b.records(topic, 11), func(r kafka.Record) bool { return r.Partition == 0 })
		b.must(b.db.Tx(t.Context(), func(tx *database.Tx) error {
			_, err := b.handle(t.Context(), tx, lost)
			return err
		}))
		b.must(kafka.SetOffset(t.Context(), b.db, group, topic, 1, 10))
		close(f.thaw)
		b.awaitSeen(31)
		b.awaitPassed(1)
		b.once()
		b.blamesNobody()
		b.balance()
	})
}
