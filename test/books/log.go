package books

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/floodgate-dev/floodgate/proto/event"
)

// log is what a subscriber to order-api's topics has heard. An event that was sent twice is one event.
type log struct{ moves, refunds tally }

func (l *log) read(ctx context.Context, s Stores) error {
	seen := map[string]bool{}
	for _, topic := range []string{event.OrderCreated, event.OrderStatusChanges} {
		ends, err := Ends(ctx, s.Brokers, s.Prefix+topic)
		if err != nil {
			return err
		}
		for partition, end := range ends {
			if err := l.partition(ctx, s, topic, partition, end, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *log) partition(ctx context.Context, s Stores, topic string, partition int, end int64, seen map[string]bool) error {
	if end == 0 {
		return nil
	}
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: s.Brokers, Topic: s.Prefix + topic, Partition: partition, MinBytes: 1,
		MaxBytes: 10 << 20, MaxWait: 100 * time.Millisecond,
	})
	defer func() { _ = r.Close() }() // it was only read
	for next := int64(0); next < end; {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			return fmt.Errorf("read %s/%d: %w", topic, partition, err)
		}
		next = m.Offset + 1
		l.hear(id(m), seen)
	}
	return nil
}

func id(m kafka.Message) string {
	for _, h := range m.Headers {
		if h.Key == "ce_id" {
			return string(h.Value)
		}
	}
	return ""
}

// hear counts an event by its name: order/<id>/<version> or refund-due/<id>/<payment>.
func (l *log) hear(id string, seen map[string]bool) {
	if seen[id] {
		return
	}
	seen[id] = true
	kind, rest, _ := strings.Cut(id, "/")
	order, last, _ := strings.Cut(rest, "/")
	switch kind {
	case "order":
		l.moves.add(order, 1)
	case "refund-due":
		l.refunds.add(order+" "+last, 1)
	}
}
