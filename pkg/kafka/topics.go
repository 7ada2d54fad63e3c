package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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
// returns once all exist. An absent broker is waited for until ctx ends; what cannot work is returned at once.
func EnsureTopics(ctx context.Context, cfg Config, topics, groups []string) error {
	all := append([]string{DeadLetters, RawErrors, ReplayOutcomes}, topics...)
	for _, g := range groups {
		all = append(all, ReplayTopic(g))
	}
	client := cfg.client()
	defer idle(client)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		missing, err := missing(ctx, client, cfg, all)
		if err == nil && len(missing) == 0 {
			return nil
		}
		if err == nil {
			err = create(ctx, client, cfg, missing)
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

// missing are those topics that the cluster does not have yet.
func missing(ctx context.Context, client *kafka.Client, cfg Config, topics []string) ([]string, error) {
	meta, err := client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, t := range meta.Topics {
		there[t.Name] = t.Error == nil && len(t.Partitions) > 0
	}
	var out []string
	for _, t := range topics {
		if !there[cfg.TopicPrefix+t] {
			out = append(out, t)
		}
	}
	return out, nil
}

func create(ctx context.Context, client *kafka.Client, cfg Config, topics []string) error {
	request := &kafka.CreateTopicsRequest{}
	for _, t := range topics {
		request.Topics = append(request.Topics, kafka.TopicConfig{
			Topic: cfg.TopicPrefix + t, NumPartitions: cfg.Partitions, ReplicationFactor: cfg.Replication,
			ConfigEntries: []kafka.ConfigEntry{{ConfigName: "max.message.bytes", ConfigValue: strconv.Itoa(outbox.Limit(t))}},
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
