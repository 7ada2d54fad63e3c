package kafka_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/floodgate-dev/floodgate/pkg/kafka"
)

// Who keeps waits for what fails, whatever the error, and skips, parks and buries nothing.
func TestKeepSkipsNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		t.Helper()
		var failures atomic.Int64
		b.fails(func(value string) error {
			if value == "5" && failures.Add(1) <= 5 {
				if failures.Load()%2 == 0 {
					return kafka.Permanent("odd", errors.New("no retry cures it"))
				}
				return errors.New("boom")
			}
			return nil
		})
		b.start(b.consumer(func(c *kafka.ConsumerConfig) { c.Keep = true }).Run)
		b.send(topic, numbered(0, 20)...)
		b.awaitSeen(20)
		b.blamesNobody()
		b.balance()
		if failures.Load() < 6 {
			t.Errorf("the record failed %d times: the fault did not fire", failures.Load())
		}
	})
}
