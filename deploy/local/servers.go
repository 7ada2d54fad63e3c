package local

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kfake"
)

// servers are the embedded Redis and Kafka, on loopback ports that nobody chose. Kafka's log lives in the state folder
// and survives kill -9; Redis remembers nothing, and need not: the gate in front of the truth fills again.
type servers struct {
	redis *miniredis.Miniredis
	kafka *kfake.Cluster
}

// sessionTimeout is the shortest that a group's member may ask for, so that a suite which was killed and started again
// need not wait long for its own ghost.
const sessionTimeout = time.Second

func startServers(dir string, log *slog.Logger) (*servers, error) {
	redis, err := miniredis.Run()
	if err != nil {
		return nil, fmt.Errorf("start the embedded Redis: %w", err)
	}
	kafka, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.DataDir(dir),
		kfake.GroupMinSessionTimeout(sessionTimeout),
		kfake.WithLogger(kafkaLog{log}),
	)
	if err != nil {
		redis.Close()
		return nil, fmt.Errorf("start the embedded Kafka on %s: %w", dir, err)
	}
	return &servers{redis: redis, kafka: kafka}, nil
}

// keepTime moves miniredis's clock: on its own it expires nothing.
func (s *servers) keepTime(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			s.redis.FastForward(now.Sub(last))
			last = now
		}
	}
}

// broker is the embedded Kafka's address; it has one broker.
func (s *servers) broker() string { return s.kafka.ListenAddrs()[0] }

func (s *servers) stop() {
	s.kafka.Close()
	s.redis.Close()
}

// kafkaLog writes the embedded broker's complaints into the suite's log.
type kafkaLog struct{ log *slog.Logger }

func (k kafkaLog) Logf(level kfake.LogLevel, format string, args ...any) {
	if level <= kfake.LogLevelWarn {
		k.log.Warn("embedded kafka", "said", fmt.Sprintf(format, args...))
	}
}
