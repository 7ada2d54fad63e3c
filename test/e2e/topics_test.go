package e2e_test

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	pkgkafka "github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/proto/event"
	"github.com/floodgate-dev/floodgate/test/suite"
)

// TestTopicsAreMadeByAWord runs the word that a cluster's job runs before any service starts.
func TestTopicsAreMadeByAWord(t *testing.T) {
	t.Parallel()
	brokers, prefix := servertest.Kafka(t)
	client := &kafka.Client{Addr: kafka.TCP(brokers...), Timeout: 10 * time.Second}
	ours := func() (topics []string) { // a shared client knows them as they were some seconds ago
		conn, err := kafka.DialContext(context.Background(), "tcp", brokers[0])
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		all, err := conn.ReadPartitions()
		if err != nil {
			t.Fatal(err)
		}
		partitions := map[string]int{}
		for _, p := range all {
			if name, is := strings.CutPrefix(p.Topic, prefix); is {
				partitions[name]++
			}
		}
		for name, n := range partitions {
			if n == 3 {
				topics = append(topics, name)
			}
		}
		return slices.Sorted(slices.Values(topics))
	}
	t.Cleanup(func() {
		var made []string
		for _, name := range ours() {
			made = append(made, prefix+name)
		}
		if _, err := client.DeleteTopics(context.Background(), &kafka.DeleteTopicsRequest{Topics: made}); err != nil {
			t.Error(err)
		}
	})

	want := append([]string{pkgkafka.DeadLetters, pkgkafka.RawErrors, pkgkafka.ReplayOutcomes}, event.Topics()...)
	for _, group := range event.Groups() {
		want = append(want, pkgkafka.ReplayTopic(group))
	}
	slices.Sort(want)
	word := func(settings ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, suite.Binary(t, "order-api"), "topics", "--timeout", "20s")
		cmd.Env = append([]string{
			"ORDER_API_AUTH_KEY=" + suite.Key, "ORDER_API_DATABASE_DSN=sqlite:unused", "FLOODGATE_KAFKA_BROKERS=" + strings.Join(brokers, ","),
			"FLOODGATE_KAFKA_TOPIC_PREFIX=" + prefix, "FLOODGATE_KAFKA_PARTITIONS=3",
		}, settings...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := word("FLOODGATE_KAFKA_REPLICATION=9"); err == nil || !strings.Contains(out, "make the topics") {
		t.Errorf("more replicas than brokers: %v\n%s", err, out)
	}
	for range 2 { // the second time there is nothing to do
		if out, err := word("FLOODGATE_KAFKA_REPLICATION=1"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if got := ours(); !slices.Equal(got, want) {
			t.Errorf("the topics are %q, want %q", got, want)
		}
	}
}
