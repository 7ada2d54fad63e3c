package orderapi

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/proto/event"
	stockv1 "github.com/floodgate-dev/floodgate/proto/floodgate/stock/v1"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/store"
)

// settings are those of a service of the test's own, on free ports.
func settings(t *testing.T, redis string) Config {
	t.Helper()
	cfg := Defaults()
	cfg.Run.Port, cfg.Run.OpsPort = servertest.FreePort(t), servertest.FreePort(t)
	cfg.Database.DSN = config.Secret(servertest.PostgresDSN(t))
	cfg.Kafka.Brokers, cfg.Kafka.TopicPrefix = servertest.Kafka(t)
	cfg.Kafka.Partitions, cfg.Kafka.Replication = 2, 1
	cfg.Redis.Addrs = []string{redis}
	cfg.Auth.Key = "a key for tests that is long enough"
	cfg.Telemetry.LogLevel = "error"
	if bad := cfg.Check(); bad != nil {
		t.Fatal(bad)
	}
	return cfg
}

func await(t *testing.T, complaint string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal(complaint)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// ready asks the operations door.
func ready(t *testing.T, cfg Config) (ok bool, says string) {
	t.Helper()
	ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+cfg.Run.OpsAddr()+"/readyz?verbose", nil)
	must(t, err)
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return false, err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode == http.StatusOK, string(text)
}

// A service that starts, hears that there is stock, moves an order because inventory says so, is ready although Redis
// is away, and stops when it is told to.
func TestRun(t *testing.T) {
	t.Parallel()
	redis := servertest.RedisServer(t)
	cfg := settings(t, redis.Addr)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, cfg) }()
	await(t, "it does not become ready", func() bool { ok, _ := ready(t, cfg); return ok })

	db := servertest.Open(t, cfg.Database.DSN.Reveal())
	books, err := store.Open(db)
	must(t, err)
	tell(t, cfg, "tea",
		&stockv1.ItemListed{SkuId: "tea", Version: 1, Name: "Tea", UnitPriceCents: 250, Currency: "EUR"},
		&stockv1.StockGranted{GrantId: "first", SkuId: "tea", Units: 10})
	await(t, "it does not hear of stock", func() bool {
		remaining, err := books.Remaining(t.Context(), []string{"tea"})
		return err == nil && remaining["tea"] == 10
	})

	o := shop{Store: books}.buy(t, order.Captured, 0)
	tell(t, cfg, o.ID, &stockv1.StockBooked{OrderId: o.ID})
	await(t, "the order is not paid", func() bool {
		now, err := books.Get(t.Context(), o.ID)
		return err == nil && now.Status == order.Paid
	})

	redis.Kill()
	if ok, says := ready(t, cfg); !ok {
		t.Errorf("not ready for want of Redis: %s", says)
	}
	cancel()
	began := time.Now()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	t.Logf("stopped in %v", time.Since(began))
}

// tell sends messages as another service's relay would.
func tell(t *testing.T, cfg Config, key string, messages ...proto.Message) {
	t.Helper()
	w := kafka.NewWriter(cfg.Kafka)
	defer func() { must(t, w.Close()) }()
	var all []outbox.Message
	for _, m := range messages {
		r := record(m)
		all = append(all, outbox.Message{Topic: event.StockChanges, Key: []byte(key), Value: r.Value, Headers: r.Headers})
	}
	must(t, w.Send(t.Context(), all))
}

// A service that starts before its database says that it waits, and needs no restart.
func TestRunWaitsForItsTables(t *testing.T) {
	t.Parallel()
	cfg := settings(t, "127.0.0.1:1")
	cfg.Database.Migrate = false
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, cfg) }()
	await(t, "the operations door stays shut", func() bool {
		ok, says := ready(t, cfg)
		return !ok && strings.Contains(says, "tables")
	})
	must(t, Migrate(t.Context(), cfg))
	await(t, "it does not become ready", func() bool { ok, _ := ready(t, cfg); return ok })
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestConfigComplainsOfEverythingAtOnce(t *testing.T) {
	t.Parallel()
	cfg := settings(t, "127.0.0.1:1")
	cfg.Committers, cfg.Queue, cfg.PaymentWindow, cfg.PointsAddr, cfg.Gate.Kind = 100, 0, 0, "nowhere", "maybe"
	cfg.Redis.Addrs, cfg.AcceptDelay = nil, time.Minute
	if bad := cfg.Check(); len(bad) != 7 {
		t.Errorf("complaints %q, want seven", bad)
	}
}
