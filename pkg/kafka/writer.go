package kafka

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/floodgate-dev/floodgate/pkg/outbox"
)

const (
	// slack is what a batch's own framing may take of a topic's max.message.bytes.
	slack = 512
	// framing is what a record takes beside its key, its value and its headers, headerFraming what a header does; at most.
	framing, headerFraming = 64, 10
	// requestBytes and requestRecords bound what is sent at once. Brokers take 100 MB.
	requestBytes, requestRecords = 8 << 20, 5000
)

// byKey sends the same key to the same partition whoever sends: Java's producers, kcat, the replayer.
var byKey = kafka.Murmur2Balancer{Consistent: true}

// Writer sends messages and waits until every in-sync replica has them. It is an outbox.Sender.
type Writer struct {
	prefix string
	client *kafka.Client
	told   sending
}

// NewWriter connects when it first sends. The caller closes it.
func NewWriter(cfg Config) *Writer { return NewObservedWriter(cfg, nil, nil) }

// NewObservedWriter is NewWriter for a service that tells of its sends.
func NewObservedWriter(cfg Config, meter metric.MeterProvider, tracer trace.TracerProvider) *Writer {
	return &Writer{prefix: cfg.TopicPrefix, client: cfg.client(), told: newSending(meter, tracer)}
}

// Close ends the connections.
func (w *Writer) Close() error {
	idle(w.client) // a transport asks for metadata as long as it lives
	return nil
}

// Send delivers messages in the order given; nil means that all are acknowledged. After an error any of them may have
// been written.
//
// A request brings one batch to each partition, and the next one follows when all of it is acknowledged: of two batches
// for one partition the first could fail and the second be written, and a key's events would stand in the wrong order.
func (w *Writer) Send(ctx context.Context, messages []outbox.Message) error {
	for len(messages) > 0 {
		began := time.Now()
		batches, n, err := w.piece(ctx, messages)
		if err != nil {
			return fmt.Errorf("send to Kafka: %w", err)
		}
		sent := w.told.trace(ctx, batches)
		err = w.deliver(ctx, batches)
		sent.all.end(err)
		w.told.note(ctx, messages[:n], sent, began, err)
		if err != nil {
			return fmt.Errorf("send to Kafka: %w", err)
		}
		messages = messages[n:]
	}
	return nil
}

// batch is what one request brings to one partition.
type batch struct {
	place
	messages []outbox.Message
	bytes    int
	err      error // of the last attempt
}

// piece is how many messages one request to each broker takes, by partition.
func (w *Writer) piece(ctx context.Context, messages []outbox.Message) (batches []*batch, n int, err error) {
	known, err := w.layout(ctx, messages)
	if err != nil {
		return nil, 0, err
	}
	of := map[place]*batch{}
	for total := 0; n < min(len(messages), requestRecords); n++ {
		m := messages[n]
		size, limit := sizeOf(m), outbox.Limit(m.Topic)-slack
		if size > limit {
			return nil, 0, fmt.Errorf("the record with key %q for %s%s has %d bytes and more in headers: %w",
				m.Key, w.prefix, m.Topic, len(m.Key)+len(m.Value), outbox.ErrTooLarge)
		}
		to := place{w.prefix + m.Topic, byKey.Balance(kafka.Message{Key: m.Key}, known[m.Topic]...)}
		b := of[to]
		if b == nil {
			b = &batch{place: to}
			of[to], batches = b, append(batches, b)
		}
		if total += size; n > 0 && (total > requestBytes || b.bytes+size > limit) {
			break
		}
		b.messages, b.bytes = append(b.messages, m), b.bytes+size
	}
	return slices.DeleteFunc(batches, func(b *batch) bool { return len(b.messages) == 0 }), n, nil
}

// sizeOf is what a record takes in a batch at most.
func sizeOf(m outbox.Message) int {
	n := len(m.Key) + len(m.Value) + framing
	for _, h := range m.Headers {
		n += len(h.Key) + len(h.Value) + headerFraming
	}
	return n
}
