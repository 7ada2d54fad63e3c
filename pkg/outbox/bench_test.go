package outbox_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

func some(n int) []outbox.Event {
	events := make([]outbox.Event, n)
	for i := range events {
		events[i] = event(fmt.Sprint("k", i%997), i)
		events[i].Value = make([]byte, 400)
	}
	return events
}

func BenchmarkAppend(b *testing.B) {
	for name, db := range map[string]*database.DB{"Postgres": servertest.Postgres(b), "SQLite": servertest.SQLite(b)} {
		migrated(b, db)
		for _, size := range []int{1, 100} {
			events := some(size)
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				for b.Loop() {
					if err := appendEvents(b, db, events...); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

// sink acknowledges at once and tells the slowest and the number.
type sink struct {
	mu   sync.Mutex // guards n
	n    int
	want int
	done chan struct{}
}

func (s *sink) Send(_ context.Context, messages []outbox.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n += len(messages)
	if s.n == s.want {
		close(s.done)
	}
	return nil
}

// BenchmarkDrain is a relay's way through a backlog, all but Kafka.
func BenchmarkDrain(b *testing.B) {
	const backlog = 200_000
	for b.Loop() {
		b.StopTimer()
		db := migrated(b, servertest.Postgres(b))
		for range backlog / 2000 {
			if err := appendEvents(b, db, some(2000)...); err != nil {
				b.Fatal(err)
			}
		}
		s := &sink{want: backlog, done: make(chan struct{})}
		b.StartTimer()
		began := time.Now()
		_, stop := start(b, db, s)
		<-s.done
		b.ReportMetric(backlog/time.Since(began).Seconds(), "events/s")
		b.StopTimer()
		stop()
		b.StartTimer()
	}
}
