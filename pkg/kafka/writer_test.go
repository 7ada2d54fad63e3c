package kafka_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
)

// What Java's producer does with a key: Utils.toPositive(Utils.murmur2(key)) % partitions. The hashes are those of
// Kafka's own UtilsTest.
func TestPartitionsAreJavas(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		const wide, partitions = "wide", 12
		b.cfg.Partitions = partitions
		b.must(kafka.EnsureTopics(t.Context(), b.cfg, []string{wide}, nil))
		hashes := map[string]int32{
			"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829,
			"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
		}
		for key := range hashes {
			b.send(wide, outbox.Message{Key: []byte(key)})
		}
		for _, r := range b.records(wide, len(hashes)) {
			if want := int(hashes[string(r.Key)]&0x7fffffff) % partitions; r.Partition != want {
				t.Errorf("key %s is in partition %d, Java's would be in %d", r.Key, r.Partition, want)
			}
		}
	})
}

func TestHeadersNullsAndOrderAreKept(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		headers := []outbox.Header{{Key: "b", Value: []byte{0, 0xff}}, {Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "null"}}
		var sent []outbox.Message
		for i := range 2000 { // more than one batch by size
			sent = append(sent, outbox.Message{Key: []byte("key"), Value: bytes.Repeat([]byte{byte(i)}, 1000), Headers: headers})
		}
		sent[7].Value = nil
		b.send(topic, sent...)
		got := b.records(topic, len(sent))
		for i, r := range got {
			if !bytes.Equal(r.Value, sent[i].Value) || (r.Value == nil) != (sent[i].Value == nil) || !slices.EqualFunc(r.Headers, headers, sameHeader) {
				t.Fatalf("record %d is %.20q with %q", i, r.Value, r.Headers)
			}
		}
	})
}

func TestARecordTooLargeIsRefusedByName(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		small := outbox.Message{Topic: topic, Key: []byte("small")}
		large := outbox.Message{Topic: topic, Key: []byte("large"), Value: make([]byte, outbox.MaxBytes)}
		err := b.writer.Send(t.Context(), []outbox.Message{small, large})
		if !errors.Is(err, outbox.ErrTooLarge) || !strings.Contains(err.Error(), fmt.Sprintf(`"large" for %s%s has %d bytes`, b.cfg.TopicPrefix, topic, outbox.MaxBytes+5)) {
			t.Errorf("it says %v", err)
		}
		large.Topic = kafka.DeadLetters
		b.must(b.writer.Send(t.Context(), []outbox.Message{large}))
	})
}

// TestASendWaitsForAllReplicas reads the requests as they pass: a broker alone answers alike whatever was asked of it.
func TestASendWaitsForAllReplicas(t *testing.T) {
	t.Parallel()
	b, g := gated(t)
	b.send(topic, numbered(0, 1)...)
	b.send(kafka.DeadLetters, numbered(0, 1)...)
	if acks := g.acks(t); len(acks) != 2 || acks[0] != -1 || acks[1] != -1 {
		t.Errorf("acks of the two sends: %v, want -1 for all in-sync replicas", acks)
	}
}

// acks is what each produce request that came through the gate asks for.
func (g *gate) acks(t *testing.T) (acks []int16) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		c := c.(*tap)
		c.mu.Lock()
		heard := bytes.Clone(c.heard.Bytes())
		c.mu.Unlock()
		for len(heard) > 4 {
			size := binary.BigEndian.Uint32(heard)
			request := heard[4 : 4+size]
			heard = heard[4+size:]
			if binary.BigEndian.Uint16(request) != 0 { // api key 0 is produce
				continue
			}
			rest := nullable(nullable(request[8:])) // client id, transactional id
			acks = append(acks, int16(binary.BigEndian.Uint16(rest)))
		}
	}
	return acks
}

// nullable skips a string that may be null.
func nullable(b []byte) []byte { return b[2+max(0, int16(binary.BigEndian.Uint16(b))):] }
