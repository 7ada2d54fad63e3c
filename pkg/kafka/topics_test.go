package kafka_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	segment "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

// partitionsOf is how many partitions each topic of the bundle's prefix has.
func (b *bundle) partitionsOf() map[string]int {
	b.t.Helper()
	out := map[string]int{}
	b.must(b.ask(func(ctx context.Context, c *segment.Client) error {
		meta, err := c.Metadata(ctx, &segment.MetadataRequest{})
		if err != nil {
			return err
		}
		for _, t := range meta.Topics {
			if name, ours := strings.CutPrefix(t.Name, b.cfg.TopicPrefix); ours {
				out[name] = len(t.Partitions)
			}
		}
		return nil
	}))
	return out
}

func (b *bundle) maxMessageBytes(topic string) (value string) {
	b.t.Helper()
	b.must(b.ask(func(ctx context.Context, c *segment.Client) error {
		answer, err := c.DescribeConfigs(ctx, &segment.DescribeConfigsRequest{Resources: []segment.DescribeConfigRequestResource{{
			ResourceType: segment.ResourceTypeTopic, ResourceName: b.cfg.TopicPrefix + topic, ConfigNames: []string{"max.message.bytes"},
		}}})
		if err == nil {
			value = answer.Resources[0].ConfigEntries[0].ConfigValue
		}
		return err
	}))
	return value
}

func TestTopicsAreMadeOnceHoweverManyMakeThem(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		cfg := b.cfg
		cfg.Partitions = 5
		var makers sync.WaitGroup
		for range 4 {
			makers.Go(func() {
				if err := kafka.EnsureTopics(t.Context(), cfg, []string{topic, "more"}, []string{group, "others"}); err != nil {
					t.Error(err)
				}
			})
		}
		makers.Wait()
		made := b.partitionsOf()
		for name, limit := range map[string]int{
			"more": outbox.MaxBytes, "replay-others": outbox.MaxLetterBytes, topic: outbox.MaxBytes, kafka.ReplayTopic(group): outbox.MaxLetterBytes,
			kafka.DeadLetters: outbox.MaxLetterBytes, kafka.RawErrors: outbox.MaxLetterBytes, kafka.ReplayOutcomes: outbox.MaxLetterBytes,
		} {
			want := b.cfg.Partitions // what exists stays as it is
			if strings.Contains(name, "more") || strings.Contains(name, "others") {
				want = cfg.Partitions
			}
			if made[name] != want || b.maxMessageBytes(name) != strconv.Itoa(limit) {
				t.Errorf("%s has %d partitions and takes %s bytes, want %d and %d", name, made[name], b.maxMessageBytes(name), want, limit)
			}
		}
	})
}

func TestWhatTheClusterRefusesIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	brokers, prefix := servertest.Kafka(t)
	for name, wrong := range map[string]func(*kafka.Config) string{
		"Replication": func(c *kafka.Config) string { c.Replication = 7; return "replication" },
		"Name":        func(c *kafka.Config) string { c.TopicPrefix += "no/slash "; return "topic" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := kafka.Defaults()
			cfg.Brokers, cfg.TopicPrefix, cfg.Replication = brokers, prefix, 1
			word := wrong(&cfg)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			err := kafka.EnsureTopics(ctx, cfg, nil, nil)
			if err == nil || ctx.Err() != nil || !strings.Contains(strings.ToLower(err.Error()), word) {
				t.Errorf("it says %v", err)
			}
		})
	}
}

func TestAnAbsentBrokerIsWaitedFor(t *testing.T) {
	t.Parallel()
	b, g := gated(t)
	g.set(true)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := kafka.EnsureTopics(ctx, b.cfg, []string{"later"}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("behind a closed gate: %v, want to wait", err)
	}
	made := make(chan error, 1)
	go func() { made <- kafka.EnsureTopics(t.Context(), b.cfg, []string{"later"}, nil) }()
	g.set(false)
	b.must(<-made)
}

// A cluster names the leader of a new partition some moments before that broker knows.
func TestTopicsThatAreNewAreWaitedForUntilTheyAreLed(t *testing.T) {
	t.Parallel()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	cfg := kafka.Defaults()
	cfg.Brokers, cfg.Replication, cfg.Partitions = broker.ListenAddrs(), 1, 2
	var refused atomic.Int32
	broker.ControlKey(int16(kmsg.ListOffsets), func(request kmsg.Request) (kmsg.Response, error, bool) {
		if refused.Add(1) > 3 {
			return nil, nil, false
		}
		broker.KeepControl()
		ask := request.(*kmsg.ListOffsetsRequest)                //nolint:forcetypeassert // ControlKey asked for no other
		answer := ask.ResponseKind().(*kmsg.ListOffsetsResponse) //nolint:forcetypeassert // as kmsg pairs them
		for _, t := range ask.Topics {
			topic := kmsg.ListOffsetsResponseTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				topic.Partitions = append(topic.Partitions, kmsg.ListOffsetsResponseTopicPartition{Partition: p.Partition, ErrorCode: int16(segment.NotLeaderForPartition)})
			}
			answer.Topics = append(answer.Topics, topic)
		}
		return answer, nil, true
	})
	if err := kafka.EnsureTopics(t.Context(), cfg, []string{topic}, nil); err != nil {
		t.Fatal(err)
	}
	if n := refused.Load(); n < 4 {
		t.Errorf("returned after %d refusals, want the broker asked until it leads", n)
	}
}
