package dlqreplayer

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/proto/event"
)

// background runs a part until the test ends.
func background(t *testing.T, part func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- part(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
}

// Letters that a real group gives up, through its outbox and the dead-letter topics, are collected by the whole service
// and shown at its door.
func TestRunCollectsWhatAGroupGivesUp(t *testing.T) {
	t.Parallel()
	cfg := Defaults()
	cfg.Run.Port, cfg.Run.OpsPort = servertest.FreePort(t), servertest.FreePort(t)
	cfg.Database.DSN = config.Secret(servertest.PostgresDSN(t))
	cfg.Kafka.Brokers, cfg.Kafka.TopicPrefix = servertest.Kafka(t)
	cfg.Kafka.Partitions, cfg.Kafka.Replication = 2, 1
	cfg.Auth.Key = "a key for tests that is long enough"
	cfg.Telemetry.LogLevel = "error"
	if bad := cfg.Check(); bad != nil {
		t.Fatal(bad)
	}
	background(t, func(ctx context.Context) error { return Run(ctx, cfg) })
	fail(t, cfg.Kafka)

	token, err := auth.Issue(cfg.Auth, "ann", []string{"viewer"}, time.Hour)
	must(t, err)
	deadline := time.Now().Add(60 * time.Second)
	for {
		n, raw := collected(t, "http://"+cfg.Run.Addr()+"/api/v1/letters?group=points", token)
		if n == 20 && raw == 10 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("collected %d letters, %d of them raw, want 20 and 10", n, raw)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// fail lets the group points give up 20 records, half of them because they cannot be read.
func fail(t *testing.T, cfg kafka.Config) {
	t.Helper()
	must(t, kafka.EnsureTopics(t.Context(), cfg, event.Topics(), event.Groups()))
	db := servertest.Open(t, servertest.PostgresDSN(t))
	must(t, database.Migrate(t.Context(), db, outbox.Migrations, kafka.Migrations))
	writer := kafka.NewWriter(cfg)
	t.Cleanup(func() { must(t, writer.Close()) })
	background(t, outbox.NewRelay(outbox.RelayConfig{DB: db, Sender: writer, Source: "test", Config: outbox.Defaults()}).Run)
	background(t, kafka.NewConsumer(kafka.ConsumerConfig{
		Group: event.Points, Topics: []string{event.OrderStatusChanges}, DB: db, Kafka: cfg,
		Handle: func(_ context.Context, _ *database.Tx, records []kafka.Record) ([]bool, error) {
			if string(records[0].Value) == "raw" {
				return nil, kafka.Undecodable(fmt.Errorf("no bytes of ours"))
			}
			return nil, kafka.Permanent("odd", fmt.Errorf("order %s is odd", records[0].Key))
		},
	}).Run)
	var messages []outbox.Message
	for i := range 20 {
		messages = append(messages, outbox.Message{
			Topic: event.OrderStatusChanges, Key: []byte(fmt.Sprint("o-", i)), Value: []byte([]string{"odd", "raw"}[i%2]),
			Headers: []outbox.Header{header("ce_id", fmt.Sprint("e-", i))},
		})
	}
	must(t, writer.Send(t.Context(), messages))
}

func collected(t *testing.T, url, token string) (n, raw int) {
	t.Helper()
	ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	ask.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return 0, 0 // not open yet
	}
	defer func() { _ = answer.Body.Close() }()
	var page struct {
		Letters []struct {
			Raw  bool
			Type string
		}
	}
	must(t, json.NewDecoder(answer.Body).Decode(&page))
	for _, l := range page.Letters {
		if l.Raw {
			raw++
		}
	}
	return len(page.Letters), raw
}
