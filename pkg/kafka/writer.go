package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/floodgate-dev/floodgate/pkg/outbox"
)

const (
	// slack is what a batch's own framing may take of a topic's max.message.bytes.
	slack = 512
	// batchMost is how many messages one batch holds. kafka-go makes room for as many whenever it begins a batch.
	batchMost = 250
)

// Writer sends messages and waits until every in-sync replica has them. It is an outbox.Sender.
type Writer struct {
	prefix string
	shared *kafka.Transport // by both
	events *kafka.Writer    // topics of outbox.MaxBytes
	others *kafka.Writer    // topics of outbox.MaxLetterBytes
}

// NewWriter connects when it first sends. The caller closes it.
func NewWriter(cfg Config) *Writer {
	transport := cfg.transport()
	writer := func(limit int64) *kafka.Writer {
		return &kafka.Writer{
			Addr: kafka.TCP(cfg.Brokers...), Transport: transport,
			// The same key goes to the same partition whoever sends: Java's producers, kcat, the replayer.
			Balancer:     kafka.Murmur2Balancer{Consistent: true},
			RequiredAcks: kafka.RequireAll,
			BatchSize:    batchMost, BatchBytes: limit - slack, BatchTimeout: 2 * time.Millisecond,
			MaxAttempts: 5, WriteBackoffMin: 20 * time.Millisecond, WriteBackoffMax: 500 * time.Millisecond,
			ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		}
	}
	return &Writer{prefix: cfg.TopicPrefix, shared: transport, events: writer(outbox.MaxBytes), others: writer(outbox.MaxLetterBytes)}
}

// Send delivers messages in the order given; nil means that all are acknowledged. After an error any of them may have
// been written.
//
// It hands kafka-go pieces that fit one batch, one after the other: of two batches for one partition the first could
// fail and the second be written, and a key's events would stand in the wrong order.
func (w *Writer) Send(ctx context.Context, messages []outbox.Message) error {
	for len(messages) > 0 {
		piece, to := w.piece(messages)
		out := make([]kafka.Message, piece)
		for i, m := range messages[:piece] {
			out[i] = w.message(m)
		}
		if err := to.WriteMessages(ctx, out...); err != nil {
			return sendError(err)
		}
		messages = messages[piece:]
	}
	return nil
}

// piece is how many messages fit one batch, at least one, and the writer that takes them.
func (w *Writer) piece(messages []outbox.Message) (n int, to *kafka.Writer) {
	limit := outbox.Limit(messages[0].Topic)
	size := 0
	for n < min(len(messages), batchMost) && outbox.Limit(messages[n].Topic) == limit {
		size += len(messages[n].Key) + len(messages[n].Value) + 64
		for _, h := range messages[n].Headers {
			size += len(h.Key) + len(h.Value) + 10
		}
		if n > 0 && size > limit-slack {
			break
		}
		n++
	}
	if limit == outbox.MaxBytes {
		return n, w.events
	}
	return n, w.others
}

func (w *Writer) message(m outbox.Message) kafka.Message {
	out := kafka.Message{Topic: w.prefix + m.Topic, Key: m.Key, Value: m.Value, Headers: make([]kafka.Header, len(m.Headers))}
	for i, h := range m.Headers {
		out.Headers[i] = kafka.Header{Key: h.Key, Value: h.Value}
	}
	return out
}

// sendError names the first message's error instead of "some messages failed".
func sendError(err error) error {
	var large kafka.MessageTooLargeError
	if errors.As(err, &large) {
		m := large.Message
		return fmt.Errorf("send to Kafka: the record with key %q for %s has %d bytes and more in headers: %w", m.Key, m.Topic, len(m.Key)+len(m.Value), outbox.ErrTooLarge)
	}
	var each kafka.WriteErrors
	if errors.As(err, &each) {
		for _, one := range each {
			if one != nil {
				return fmt.Errorf("send to Kafka (%d of %d failed): %w", each.Count(), len(each), one)
			}
		}
	}
	return fmt.Errorf("send to Kafka: %w", err)
}

// Close waits for what is being sent.
func (w *Writer) Close() error {
	defer w.shared.CloseIdleConnections() // a transport asks for metadata as long as it lives
	return errors.Join(w.events.Close(), w.others.Close())
}
