package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/floodgate-dev/floodgate/pkg/outbox"
)

// Topics of the runtime itself.
const (
	DeadLetters    = "dlq-orders-v1"
	RawErrors      = "dlq-raw-errors"
	ReplayOutcomes = "replay-outcomes"
)

// ReplayTopic is where letters are sent back to the one group that failed.
func ReplayTopic(group string) string { return "replay-" + group }

// EnsureTopics makes the topics, those of the runtime, and a replay topic for each group, where they are missing, and
// returns once all exist and the brokers lead what was new. An absent broker is waited for until ctx ends; what cannot work
// is returned at once.
func EnsureTopics(ctx context.Context, cfg Config, topics, groups []string) error {
	var all []string
	for _, t := range append([]string{DeadLetters, RawErrors, ReplayOutcomes}, topics...) {
		all = append(all, cfg.TopicPrefix+t)
	}
	for _, g := range groups {
		all = append(all, cfg.TopicPrefix+ReplayTopic(g))
	}
	client := cfg.client()
	defer idle(client)
	fresh := map[string]bool{}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		there, err := partitions(ctx, client)
		missing := slices.DeleteFunc(slices.Clone(all), func(t string) bool { return there[t] > 0 })
		switch {
		case err != nil:
		case len(missing) > 0:
			for _, t := range missing {
				fresh[t] = true
			}
			err = create(ctx, client, cfg, missing)
		default:
			if err = led(ctx, client, there, fresh); err == nil {
				return nil
			}
		}
		if hopeless(err) {
			return fmt.Errorf("make the topics: %w", err)
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

// partitions says how many each topic of the cluster has.
func partitions(ctx context.Context, client *kafka.Client) (map[string]int, error) {
	meta, err := client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return nil, err
	}
	there := map[string]int{}
	for _, t := range meta.Topics {
		if t.Error == nil {
			there[t.Name] = len(t.Partitions)
		}
	}
	return there, nil
}

// led asks the brokers for each partition of the fresh topics: a cluster names a new partition's leader some moments
// before that broker knows, and until then refuses what is sent to it.
func led(ctx context.Context, client *kafka.Client, there map[string]int, fresh map[string]bool) error {
	if len(fresh) == 0 {
		return nil
	}
	ask := &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{}}
	for t := range fresh {
		for id := range there[t] {
			ask.Topics[t] = append(ask.Topics[t], kafka.LastOffsetOf(id))
		}
	}
	answer, err := client.ListOffsets(ctx, ask)
	if err != nil {
		return err
	}
	for topic, all := range answer.Topics {
		for _, p := range all {
			if p.Error != nil {
				return fmt.Errorf("topic %s, partition %d: %w", topic, p.Partition, p.Error)
			}
		}
	}
	return nil
}

func create(ctx context.Context, client *kafka.Client, cfg Config, topics []string) error {
	request := &kafka.CreateTopicsRequest{}
	for _, t := range topics {
		request.Topics = append(request.Topics, kafka.TopicConfig{
			Topic: t, NumPartitions: cfg.Partitions, ReplicationFactor: cfg.Replication,
			ConfigEntries: []kafka.ConfigEntry{{ConfigName: "max.message.bytes", ConfigValue: strconv.Itoa(outbox.Limit(strings.TrimPrefix(t, cfg.TopicPrefix)))}},
		})
	}
	answer, err := client.CreateTopics(ctx, request)
	if err != nil {
		return err
	}
	for topic, err := range answer.Errors {
		if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
			return fmt.Errorf("topic %s: %w", topic, err)
		}
	}
	return nil
}

// hopeless says that waiting cures nothing: the cluster refuses what was asked.
func hopeless(err error) bool {
	for _, refusal := range []kafka.Error{
		kafka.InvalidReplicationFactor, kafka.InvalidPartitionNumber, kafka.InvalidConfiguration, kafka.PolicyViolation,
		kafka.TopicAuthorizationFailed, kafka.ClusterAuthorizationFailed, kafka.InvalidTopic, kafka.SASLAuthenticationFailed,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}
