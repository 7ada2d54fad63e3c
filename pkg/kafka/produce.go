package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
	wire "github.com/segmentio/kafka-go/protocol/produce"

	"github.com/floodgate-dev/floodgate/pkg/outbox"
)

const (
	sendAttempts = 5
	sendTimeout  = 10 * time.Second // of one attempt
)

// deliver sends batches until all are acknowledged; those that were are not sent again.
func (w *Writer) deliver(ctx context.Context, batches []*batch) error {
	for attempt := 1; ; attempt++ {
		if err := w.attempt(ctx, batches); err != nil {
			for _, b := range batches {
				b.err = err
			}
		}
		all := len(batches)
		var failed []*batch
		for _, b := range batches {
			if b.err != nil {
				failed = append(failed, b)
			}
		}
		if len(failed) == 0 {
			return nil
		}
		for _, b := range failed {
			if attempt == sendAttempts || ctx.Err() != nil || !passes(b.err) {
				return fmt.Errorf("%d of %d partitions failed, %s/%d: %w", len(failed), all, b.topic, b.partition, b.err)
			}
		}
		batches = failed
		pause := min(10*time.Millisecond<<attempt, 500*time.Millisecond)
		wait(ctx, pause/2+rand.N(pause))
	}
}

// passes says that another attempt may go better: whatever is not the broker's last word on these records.
func passes(err error) bool {
	var refused kafka.Error
	return !errors.As(err, &refused) || refused.Temporary()
}

// attempt asks each broker once, and leaves in each batch what became of it.
func (w *Writer) attempt(ctx context.Context, batches []*batch) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	leaders, err := w.leaders(ctx, batches)
	if err != nil {
		return err
	}
	var requests sync.WaitGroup
	for _, share := range leaders {
		requests.Go(func() {
			acked, err := w.request(ctx, share)
			for _, b := range share {
				b.err = err
				if err == nil {
					b.err = acked.of(b)
				}
			}
		})
	}
	requests.Wait()
	return nil
}

// request is one broker's answer to all batches of which it leads the partitions. Acks of -1 wait for all in-sync replicas.
func (w *Writer) request(ctx context.Context, batches []*batch) (acks, error) {
	r := &wire.Request{Acks: int16(kafka.RequireAll), Timeout: int32(sendTimeout.Milliseconds())}
	at, now := map[string]int{}, time.Now()
	for _, b := range batches {
		i, known := at[b.topic]
		if !known {
			i = len(r.Topics)
			at[b.topic] = i
			r.Topics = append(r.Topics, wire.RequestTopic{Topic: b.topic})
		}
		r.Topics[i].Partitions = append(r.Topics[i].Partitions, wire.RequestPartition{
			Partition: int32(b.partition), RecordSet: protocol.RecordSet{Records: protocol.NewRecordReader(recordsOf(b.messages, now)...)},
		})
	}
	response, err := w.client.Transport.RoundTrip(ctx, w.client.Addr, r)
	if err != nil {
		return nil, err
	}
	got, is := response.(*wire.Response)
	if !is {
		return nil, fmt.Errorf("the answer to a produce request is %T", response)
	}
	said := acks{}
	for _, t := range got.Topics {
		for _, p := range t.Partitions {
			said[place{t.Topic, int(p.Partition)}] = p
		}
	}
	return said, nil
}

// acks is what a broker said of each partition.
type acks map[place]wire.ResponsePartition

func (a acks) of(b *batch) error {
	said, is := a[b.place]
	switch {
	case !is:
		return errors.New("the broker left the partition out")
	case said.ErrorCode == 0:
		return nil
	case said.ErrorMessage != "":
		return fmt.Errorf("%w: %s", kafka.Error(said.ErrorCode), said.ErrorMessage)
	}
	return kafka.Error(said.ErrorCode)
}

func recordsOf(messages []outbox.Message, at time.Time) []protocol.Record {
	out := make([]protocol.Record, len(messages))
	for i, m := range messages {
		out[i] = protocol.Record{Time: at, Key: protocol.NewBytes(m.Key), Value: protocol.NewBytes(m.Value), Headers: make([]protocol.Header, len(m.Headers))}
		for k, h := range m.Headers {
			out[i].Headers[k] = protocol.Header{Key: h.Key, Value: h.Value}
		}
	}
	return out
}

// layout is which partitions the messages' topics have, by the topics' names without the prefix.
func (w *Writer) layout(ctx context.Context, messages []outbox.Message) (map[string][]int, error) {
	known := map[string][]int{}
	var names []string
	for _, m := range messages {
		if _, is := known[m.Topic]; !is {
			known[m.Topic] = nil
			names = append(names, w.prefix+m.Topic)
		}
	}
	topics, err := w.metadata(ctx, names)
	if err != nil {
		return nil, err
	}
	for _, t := range topics {
		ids := make([]int, len(t.Partitions))
		for i, p := range t.Partitions {
			ids[i] = int(p.PartitionIndex)
		}
		slices.Sort(ids)
		known[strings.TrimPrefix(t.Name, w.prefix)] = ids
	}
	return known, nil
}

// leaders gives each broker the batches of which it leads the partitions.
func (w *Writer) leaders(ctx context.Context, batches []*batch) (map[int32][]*batch, error) {
	of, shares := map[place]int32{}, map[int32][]*batch{}
	var names []string
	for _, b := range batches {
		if !slices.Contains(names, b.topic) {
			names = append(names, b.topic)
		}
	}
	topics, err := w.metadata(ctx, names)
	if err != nil {
		return nil, err
	}
	for _, t := range topics {
		for _, p := range t.Partitions {
			of[place{t.Name, int(p.PartitionIndex)}] = p.LeaderID
		}
	}
	for _, b := range batches {
		id, led := of[b.place]
		if !led {
			return nil, fmt.Errorf("%s/%d: %w", b.topic, b.partition, kafka.LeaderNotAvailable)
		}
		shares[id] = append(shares[id], b)
	}
	return shares, nil
}

// metadata is what the transport last heard of topics; it asks the brokers anew by itself.
func (w *Writer) metadata(ctx context.Context, names []string) ([]metadata.ResponseTopic, error) {
	response, err := w.client.Transport.RoundTrip(ctx, w.client.Addr, &metadata.Request{TopicNames: names})
	if err != nil {
		return nil, fmt.Errorf("ask for the topics: %w", err)
	}
	got, is := response.(*metadata.Response)
	if !is {
		return nil, fmt.Errorf("the answer to a metadata request is %T", response)
	}
	for _, t := range got.Topics {
		if t.ErrorCode != 0 {
			return nil, fmt.Errorf("topic %s: %w", t.Name, kafka.Error(t.ErrorCode))
		}
	}
	return got.Topics, nil
}
