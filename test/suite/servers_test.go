package suite_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/segmentio/kafka-go"

	"github.com/floodgate-dev/floodgate/test/books"
	"github.com/floodgate-dev/floodgate/test/suite"
)

func TestRedisForgetsAndRemembersAsTold(t *testing.T) {
	t.Parallel()
	r := suite.StartRedis(t)
	c := redis.NewClient(&redis.Options{Addr: r.Addr})
	defer func() { _ = c.Close() }()
	value := func() string { return c.Get(context.Background(), "k").Val() }
	c.Set(t.Context(), "k", "old", 0)
	dump := r.Dump()
	c.Set(t.Context(), "k", "new", 0)
	r.Restore(dump)
	if got := value(); got != "old" {
		t.Errorf("after the old dump k = %q, want old", got)
	}
	if lost := r.Wipe(); lost != 1 || value() != "" {
		t.Errorf("wiped %d keys and k = %q, want 1 and nothing", lost, value())
	}
}

func TestKafkaKeepsItsLogWhenKilled(t *testing.T) {
	t.Parallel()
	k := suite.StartKafka(t)
	admin := &kafka.Client{Addr: kafka.TCP(k.Addr)}
	_, err := admin.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: "kept", NumPartitions: 2, ReplicationFactor: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	w := &kafka.Writer{Addr: kafka.TCP(k.Addr), Topic: "kept", RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond}
	suite.WaitFor(t, 10*time.Second, func() error { return w.WriteMessages(t.Context(), kafka.Message{Value: []byte("one")}) })
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	k.Kill()
	k.Start()
	suite.WaitFor(t, 20*time.Second, func() error {
		ends, err := books.Ends(t.Context(), []string{k.Addr}, "kept")
		if err == nil && ends[0]+ends[1] != 1 {
			t.Fatalf("the log ends at %v, want one record", ends)
		}
		return err
	})
}

func TestAProcessIsStoppedKilledAndNeverOutlivesTheTest(t *testing.T) {
	t.Parallel()
	var p *suite.Process
	t.Run("a test that leaves it running", func(t *testing.T) { // the outer test looks at it afterwards
		p = suite.NewProcess(t, "sleep", "sleep", "600")
		p.Start()
		p.Kill()
		p.Start()
		p.Stop()
		if !p.Alive() {
			t.Error("a stopped process is still a process")
		}
	})
	if p.Alive() {
		t.Error("it outlived the test that started it")
	}
}
