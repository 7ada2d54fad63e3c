package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	segment "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"go.opentelemetry.io/otel/attribute"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
)

// deleteRecords is the request that kafka-go lacks: what retention does, at once.
type (
	deleteRecords struct {
		Topics    []deleteTopic `kafka:"min=v0,max=v1"`
		TimeoutMs int32         `kafka:"min=v0,max=v1"`
	}
	deleteTopic struct {
		Name       string            `kafka:"min=v0,max=v1"`
		Partitions []deletePartition `kafka:"min=v0,max=v1"`
	}
	deletePartition struct {
		Partition int32 `kafka:"min=v0,max=v1"`
		Before    int64 `kafka:"min=v0,max=v1"`
	}

	deleteRecordsAnswer struct {
		ThrottleTimeMs int32           `kafka:"min=v0,max=v1"`
		Topics         []deletedRecord `kafka:"min=v0,max=v1"`
	}
	deletedRecord struct {
		Name       string             `kafka:"min=v0,max=v1"`
		Partitions []deletedPartition `kafka:"min=v0,max=v1"`
	}
	deletedPartition struct {
		Partition    int32 `kafka:"min=v0,max=v1"`
		LowWatermark int64 `kafka:"min=v0,max=v1"`
		ErrorCode    int16 `kafka:"min=v0,max=v1"`
	}
)

//nolint:revive // the library names the method
func (*deleteRecords) ApiKey() protocol.ApiKey { return protocol.DeleteRecords }

//nolint:revive // as above
func (*deleteRecordsAnswer) ApiKey() protocol.ApiKey { return protocol.DeleteRecords }

// Broker is the only one.
func (*deleteRecords) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	for _, b := range cluster.Brokers {
		return b, nil
	}
	return protocol.Broker{}, errors.New("the cluster has no broker")
}

func init() { protocol.Register(&deleteRecords{}, &deleteRecordsAnswer{}) }

// overrun deletes the records of a partition before an offset, as retention does.
func (b *bundle) overrun(partition int, before int64) {
	b.t.Helper()
	b.must(b.ask(func(ctx context.Context, c *segment.Client) error {
		answer, err := c.Transport.RoundTrip(ctx, c.Addr, &deleteRecords{
			TimeoutMs: 10_000,
			Topics: []deleteTopic{{
				Name: b.cfg.TopicPrefix + topic, Partitions: []deletePartition{{Partition: int32(partition), Before: before}},
			}},
		})
		if err != nil {
			return err
		}
		if code := answer.(*deleteRecordsAnswer).Topics[0].Partitions[0].ErrorCode; code != 0 {
			return segment.Error(code)
		}
		return nil
	}))
}

// remake deletes the topic and makes it anew.
func (b *bundle) remake() {
	b.t.Helper()
	b.must(b.deleteTopics(b.cfg.TopicPrefix + topic))
	b.await("deletion", func() (bool, string) { return b.partitionsOf()[topic] == 0, "there" })
	b.must(kafka.EnsureTopics(b.t.Context(), b.cfg, []string{topic}, []string{group}))
}

// alarms counts those of one reason.
func (b *bundle) alarms(reason string) int64 {
	b.t.Helper()
	n, _ := b.metric("floodgate.consumer.alarms", attribute.String("reason", reason), attribute.String("topic", topic))
	return n
}

// alarmed waits for an alarm, and for the log line that says words.
func (b *bundle) alarmed(reason string, words ...string) {
	b.t.Helper()
	b.await("an alarm", func() (bool, string) {
		return b.alarms(reason) == 1 && b.said.has(words...), fmt.Sprintf("%d alarms, %v not said", b.alarms(reason), words)
	})
}

func TestATopicMadeAnewIsReadFromItsFirst(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.send(topic, sameKey(0, 10)...)
		stop := b.start(b.consumer().Run)
		b.awaitSeen(10)
		stop()
		b.remake()
		b.send(topic, sameKey(10, 5)...)
		b.start(b.consumer().Run)
		b.awaitSeen(15)
		b.alarmed("topic-made-anew", "level=ERROR", "next=10", "end=5")
		b.once()
		b.balance()
	})
}

// The same while a member owns the topic's partitions: it lives through a time without the topic.
func TestATopicIsMadeAnewUnderAMember(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.send(topic, sameKey(0, 10)...)
		b.start(b.consumer().Run)
		b.awaitSeen(10)
		b.remake()
		b.alarmed("topic-made-anew", "level=ERROR", "next=10", "end=0")
		b.send(topic, sameKey(10, 5)...)
		b.awaitSeen(15)
		b.once()
		b.balance()
	})
}

// While one topic is missing, the others go on in a group that stays calm, and health says what is missing.
func TestAMissingTopicHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		const late = "latecomers"
		c := b.consumer(func(c *kafka.ConsumerConfig) { c.Topics = []string{topic, late} })
		b.start(c.Run)
		b.send(topic, numbered(0, 10)...)
		b.awaitSeen(10)
		if err := c.Health(); err == nil || !strings.Contains(err.Error(), late+": the topic does not exist") {
			t.Errorf("health says %v", err)
		}
		b.must(kafka.EnsureTopics(t.Context(), b.cfg, []string{late}, nil))
		b.send(late, numbered(10, 10)...)
		b.awaitSeen(20)
		b.awaitHealthy(c)
		if !b.said.has("joined the group", "generation=1", "partitions=4") || b.said.has("generation=5") {
			t.Error("the group was not calm")
		}
	})
}

func TestWhatRetentionTookIsSaid(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.send(topic, sameKey(0, 10)...)
		stop := b.start(b.consumer().Run)
		b.awaitSeen(10)
		stop()
		b.send(topic, sameKey(10, 10)...)
		b.overrun(b.sentTo(sameKey(0, 1)[0].Key), 17)
		b.start(b.consumer().Run)
		b.awaitSeen(13)
		b.alarmed("retention-overran", "level=ERROR", "next=10", "first=17", "lost=7")
		b.once()
		b.balance()
	})
}

// What a reader has not fetched when it is deleted, it skips without a word: the runtime sees the gap, though the log's
// ends are not due to be looked at.
func TestWhatAReaderSkipsIsSaid(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		var once sync.Once
		begun, deleted := make(chan struct{}), make(chan struct{})
		b.start(b.consumer(func(c *kafka.ConsumerConfig) {
			c.Handle = func(_ context.Context, _ *database.Tx, records []kafka.Record) ([]bool, error) {
				once.Do(func() { close(begun); <-deleted })
				return make([]bool, len(records)), nil
			}
		}).Run)
		b.send(topic, sameKey(0, 1)...)
		<-begun
		large := sameKey(1, 699)
		for i := range large { // more than one fetch brings
			large[i].Value = make([]byte, 16<<10)
		}
		b.send(topic, large...)
		b.overrun(b.sentTo(sameKey(0, 1)[0].Key), 695)
		close(deleted)
		b.await("the end", func() (bool, string) {
			n := b.count(`SELECT max(next) FROM consumer_offsets WHERE topic = $1`, topic)
			return n == 700, fmt.Sprint("at ", n)
		})
		b.alarmed("retention-overran", "level=ERROR", "first=695")
		b.balance()
	})
}

// sentTo is the partition that has a key's records.
func (b *bundle) sentTo(key []byte) int {
	return segment.Murmur2Balancer{Consistent: true}.Balance(segment.Message{Key: key}, 0, 1)
}
