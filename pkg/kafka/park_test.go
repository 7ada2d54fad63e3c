package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	segment "github.com/segmentio/kafka-go"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
)

func (b *bundle) awaitParked(n int64) {
	b.t.Helper()
	b.await("parked records", func() (bool, string) {
		got := b.count(`SELECT count(*) FROM parked`)
		return got == n, fmt.Sprintf("%d, not %d", got, n)
	})
}

// letter waits for the only dead letter of a dead-letter topic.
func (b *bundle) letter(topic string) (raw kafka.Record, letter kafka.DeadLetter) {
	b.t.Helper()
	all := b.records(topic, 1)
	if len(all) != 1 {
		b.t.Fatalf("%d letters in %s, want 1", len(all), topic)
	}
	return all[0], kafka.ParseDeadLetter(all[0])
}

func TestThreeAttemptsThenALetter(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		var mu sync.Mutex // guards both
		var tries, waits int
		b.fails(func(string) error {
			mu.Lock()
			defer mu.Unlock()
			tries++
			return fmt.Errorf("try %d: %w", tries, errHurt)
		})
		m := sameKey(0, 1)[0]
		m.Headers = append(m.Headers, outbox.Header{Key: "odd", Value: []byte{0, 0xff}}, outbox.Header{Key: "null"})
		b.send(topic, m)
		b.start(b.consumer(func(c *kafka.ConsumerConfig) {
			c.Backoff = func(attempt int) time.Duration {
				mu.Lock()
				defer mu.Unlock()
				waits = max(waits, attempt)
				return b.backoff
			}
		}).Run)
		_, d := b.letter(kafka.DeadLetters)
		mu.Lock()
		defer mu.Unlock()
		if tries != 3 || waits != 2 || d.Attempts != 3 || d.Error != "try 3: it hurts" || d.ErrorKind != "failed" {
			t.Errorf("%d tries, %d waits, letter %+v", tries, waits, d)
		}
		if d.Topic != topic || d.Partition != b.sentTo(m.Key) || d.Offset != 0 || d.Group != group || d.Undecodable || d.WithoutOrigins {
			t.Errorf("the letter comes from %+v", d)
		}
		if gap := d.LastFailedMS - d.FirstFailedMS; gap < 2*b.backoff.Milliseconds() {
			t.Errorf("first and last failure are %d ms apart, want two waits", gap)
		}
		if !bytes.Equal(d.Key, m.Key) || !bytes.Equal(d.Value, m.Value) || !slices.EqualFunc(d.Headers, m.Headers, sameHeader) {
			t.Errorf("the record within is %q → %q, %q; want %q", d.Key, d.Value, d.Headers, m.Headers)
		}
		b.awaitParked(0)
		b.balance()
	})
}

func sameHeader(a, b kafka.Header) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) }

func TestNobodyWaitsBehindAParkedRecord(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.backoff = time.Hour
		b.fails(func(v string) error {
			if v == "4" {
				return errHurt
			}
			return nil
		})
		b.send(topic, sameKey(0, 10)...)
		c := b.consumer()
		b.start(c.Run)
		b.awaitSeen(9)
		b.awaitParked(1)
		b.inOrder()
		b.awaitHealthy(c)
		b.once()
		b.balance()
	})
}

// inOrder checks that of one key a lower number was seen before a higher one.
func (b *bundle) inOrder() {
	b.t.Helper()
	if n := b.count(`SELECT count(*) FROM seen a JOIN seen b ON a.key = b.key AND a.n < b.n
		AND CAST(replace(a.id, '"', '') AS integer) > CAST(replace(b.id, '"', '') AS integer)`); n != 0 {
		b.t.Errorf("%d pairs of one key are out of order", n)
	}
}

func TestAParkedRecordOutlivesItsConsumer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.backoff = 2 * time.Second
		b.fails(func(string) error { return errHurt })
		b.send(topic, sameKey(0, 1)...)
		stop := b.start(b.consumer().Run)
		b.awaitParked(1)
		stop()
		b.fails(nil)
		b.start(b.consumer().Run)
		b.awaitSeen(1)
		b.awaitParked(0)
		if n := b.count(`SELECT sum(applied) FROM consumer_offsets`); n != 1 {
			t.Errorf("applied %d, want 1", n)
		}
		b.balance()
	})
}

func TestUndecodableBytesStayAsTheyAre(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.fails(func(string) error { return fmt.Errorf("order: %w", kafka.Undecodable(errHurt)) })
		odd := outbox.Message{
			Key: []byte("\x00\xff key"), Value: []byte("\xff\xfe\x00 value"),
			Headers: []outbox.Header{{Key: "h", Value: []byte{0}}, {Key: "h", Value: []byte{0xff}}, {Key: "empty", Value: []byte{}}},
		}
		null := outbox.Message{Key: []byte("tombstone")}
		b.send(topic, odd, null)
		b.start(b.consumer().Run)
		for _, raw := range b.records(kafka.RawErrors, 2) {
			want, d := odd, kafka.ParseDeadLetter(raw)
			if string(raw.Key) == "tombstone" {
				want = null
			}
			if !bytes.Equal(raw.Key, want.Key) || !bytes.Equal(raw.Value, want.Value) || (raw.Value == nil) != (want.Value == nil) ||
				!slices.EqualFunc(d.Headers, want.Headers, sameHeader) {
				t.Errorf("letter %q → %q, %q; want %q", raw.Key, raw.Value, d.Headers, want)
			}
			if !d.Undecodable || d.Attempts != 1 || d.ErrorKind != "undecodable" || d.Error != "order: it hurts" {
				t.Errorf("letter %+v", d)
			}
		}
		b.balance()
	})
}

func TestAnyErrorTextFits(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.fails(func(string) error { return errors.New(strings.Repeat("\x00\xff€", 1<<18)) })
		b.send(topic, sameKey(0, 1)...)
		b.start(b.consumer().Run)
		raw, d := b.letter(kafka.DeadLetters)
		size := 0
		for _, h := range raw.Headers {
			size += len(h.Key) + len(h.Value)
			if !utf8.Valid(h.Value) || bytes.ContainsRune(h.Value, 0) {
				t.Errorf("header %s is not text", h.Key)
			}
		}
		if size > 8<<10 || len(d.Error) < 1<<10 {
			t.Errorf("the headers take %d bytes, the error's text %d", size, len(d.Error))
		}
	})
}

// A record may be small only as it was sent: compressed. What no topic takes stays behind, and the letter says so.
func TestALetterTooLargeForAnyTopic(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]segment.Message{
		"Value":   {Key: []byte("key"), Value: make([]byte, 3<<20)},
		"Key":     {Key: make([]byte, 3<<20)},
		"Headers": {Key: []byte("key"), Headers: []segment.Header{{Key: "h", Value: make([]byte, 3<<20)}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			transport := &segment.Transport{}
			defer transport.CloseIdleConnections()
			w := segment.Writer{
				Addr: segment.TCP(b.cfg.Brokers...), Topic: b.cfg.TopicPrefix + topic, Compression: segment.Gzip, BatchBytes: 8 << 20,
				RequiredAcks: segment.RequireAll, BatchTimeout: time.Millisecond, Transport: transport,
			}
			b.must(w.WriteMessages(t.Context(), m))
			b.must(w.Close())
			b.start(b.consumer(func(c *kafka.ConsumerConfig) {
				c.Handle = func(context.Context, *database.Tx, []kafka.Record) ([]bool, error) {
					return nil, kafka.Permanent("nonsense", errHurt)
				}
			}).Run)
			_, d := b.letter(kafka.DeadLetters)
			if d.OmittedBytes < 3<<20 || len(d.Value) != 0 || d.Topic != topic || d.ErrorKind != "nonsense" {
				t.Errorf("the letter says %d bytes are omitted, of %s by %s", d.OmittedBytes, d.Topic, d.ErrorKind)
			}
		})
	}
}

// Whoever writes to a replay topic, and whatever: the topic goes on.
func TestAReplayThatMakesNoSenseStopsNoOther(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		nonsense := numbered(0, 1)[0]
		nonsense.Headers = append(nonsense.Headers,
			kafka.Replay{Job: "\x00\xff", Letter: strings.Repeat("\xff\x00", 200<<10), Topic: topic}.Headers()...)
		sense := numbered(10, 1)[0] // of the same key
		sense.Headers = append(sense.Headers, kafka.Replay{Job: "job", Letter: "letter", Topic: topic}.Headers()...)
		b.send(kafka.ReplayTopic(group), nonsense, sense)
		b.start(b.consumer().Run)
		b.records(kafka.ReplayOutcomes, 2)
		b.awaitSeen(2)
		b.balance()
	})
}

func TestBackoffGrowsAndSpreads(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]bool{}
	for range 100 {
		first, second := kafka.DefaultBackoff(1), kafka.DefaultBackoff(2)
		if first < 500*time.Millisecond || first > 1500*time.Millisecond || second < 2*time.Second || second > 6*time.Second {
			t.Fatalf("waits of %v and %v", first, second)
		}
		seen[first] = true
	}
	if len(seen) < 50 {
		t.Errorf("only %d of 100 waits differ", len(seen))
	}
}
