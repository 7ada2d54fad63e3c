package kafka_test

import (
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
)

func TestOffsetsAreShownAndSet(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		key := sameKey(0, 1)[0].Key
		b.send(topic, sameKey(0, 10)...)
		b.start(b.consumer().Run)
		b.awaitSeen(10)
		show := func() kafka.OffsetRow {
			t.Helper()
			rows, err := kafka.Offsets(t.Context(), b.db)
			b.must(err)
			for _, r := range rows {
				if r.Group == group && r.Topic == topic && r.Partition == b.sentTo(key) {
					return r
				}
			}
			t.Fatalf("no row of the partition in %+v", rows)
			return kafka.OffsetRow{}
		}
		want := kafka.OffsetRow{Group: group, Topic: topic, Partition: b.sentTo(key), Next: 10, Applied: 10}
		if got := show(); got != want {
			t.Errorf("shown %+v, want %+v", got, want)
		}
		// Back by four while the member runs: it finds out with its next record and reads from there.
		b.must(kafka.SetOffset(t.Context(), b.db, group, topic, want.Partition, 6))
		b.send(topic, sameKey(10, 1)...)
		b.awaitSeen(11)
		want.First, want.Next, want.Applied = -4, 11, 15
		b.await("the way back", func() (bool, string) { return show() == want, "not there" })
		if n := b.count(`SELECT sum(times) FROM seen`); n != 15 {
			t.Errorf("%d effects, want each of four twice", n)
		}
		for complaint, set := range map[string]func() error{
			"an offset is 0 or more":                 func() error { return kafka.SetOffset(t.Context(), b.db, group, topic, 0, -1) },
			"group nobody has no offset in things/0": func() error { return kafka.SetOffset(t.Context(), b.db, "nobody", topic, 0, 1) },
			"no offset in things/9":                  func() error { return kafka.SetOffset(t.Context(), b.db, group, topic, 9, 1) },
		} {
			if err := set(); err == nil || !strings.Contains(err.Error(), complaint) {
				t.Errorf("it says %v, want %s", err, complaint)
			}
		}
		b.balance()
	})
}

// Set back over a record that is parked, a partition waits until that is concluded, and goes on by itself.
func TestGoingBackOverAParkedRecord(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.backoff *= 20
		b.fails(func(v string) error {
			if v == "1" {
				return errHurt
			}
			return nil
		})
		b.send(topic, sameKey(0, 3)...)
		stop := b.start(b.consumer().Run)
		b.awaitSeen(2)
		b.awaitParked(1)
		stop()
		b.must(kafka.SetOffset(t.Context(), b.db, group, topic, b.sentTo(sameKey(0, 1)[0].Key), 0))
		b.start(b.consumer().Run)
		b.await("two deaths", func() (bool, string) {
			return b.count(`SELECT sum(dead) FROM consumer_offsets`) == 2 && b.count(`SELECT max(next) FROM consumer_offsets`) == 3, "waiting"
		})
		b.balance()
	})
}

func (b *bundle) lag(consumer string) (int64, bool) {
	b.t.Helper()
	return b.metric("kafka_consumergroup_lag", attribute.String("consumergroup", consumer), attribute.String("topic", topic))
}

// While a handler waits for its database the lag grows and health says which partition waits; a partition that was
// given up has no lag any more.
func TestLagAndHealthTellTheTruth(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		c := b.consumer()
		if c.Health() == nil {
			t.Error("healthy before it joined")
		}
		b.fails(func(string) error { return database.ErrUnknownOutcome })
		b.send(topic, sameKey(0, 30)...)
		stop := b.start(c.Run)
		b.await("lag", func() (bool, string) { n, _ := b.lag(group); return n == 30, "not 30" })
		b.await("illness", func() (bool, string) {
			err := c.Health()
			return err != nil && strings.Contains(err.Error(), "things/1: "), "not said"
		})
		b.fails(nil)
		b.awaitSeen(30)
		b.awaitHealthy(c)
		b.await("no lag", func() (bool, string) { n, found := b.lag(group); return found && n == 0, "lagging" })
		stop()
		if n, found := b.lag(group); found {
			t.Errorf("a stopped member tells a lag of %d", n)
		}
	})
}

// Groups of one process share its meters.
func TestEachGroupTellsItsOwnLag(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const other = "other"
	b.must(kafka.EnsureTopics(t.Context(), b.cfg, nil, []string{other}))
	b.send(topic, sameKey(0, 30)...)
	b.start(b.consumer().Run)
	b.awaitSeen(30)
	b.fails(func(string) error { return database.ErrUnknownOutcome })
	b.start(b.consumer(func(c *kafka.ConsumerConfig) { c.Group = other }).Run)
	for name, want := range map[string]int64{group: 0, other: 30} {
		b.await("lag of "+name, func() (bool, string) { n, found := b.lag(name); return found && n == want, "another" })
	}
}
