package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/floodgate-dev/floodgate/pkg/outbox"
)

const (
	pollRecords = 500
	pollWait    = 20 * time.Millisecond  // a poll that has begun waits so long for more
	idleWait    = 200 * time.Millisecond // a poll that finds nothing ends, so that parked records get their turn
	watchEvery  = 2 * time.Second        // how often the log's ends are asked for
	stopWithin  = 700 * time.Millisecond // a batch in hand may finish so long after the stop
)

// partition is one partition while this member owns it. One goroutine works on it; what another owner does at the same
// time, because this one was stopped, fails at the offset.
type partition struct {
	*Consumer
	log      *slog.Logger
	progress *progress
	topic    string // without the prefix
	id       int

	offsets row       // as the last transaction that stood left it
	due     time.Time // when the first parked record may be tried again; zero for none
	watched time.Time
}

func (c *Consumer) partition(topic string, id int, progress *progress) *partition {
	topic = strings.TrimPrefix(topic, c.Kafka.TopicPrefix)
	return &partition{Consumer: c, topic: topic, id: id, progress: progress, log: c.Log.With("topic", topic, "partition", id)}
}

func (p *partition) name() string { return fmt.Sprintf("%s/%d", p.topic, p.id) }

// run works until ctx ends. Whatever fails is waited out: the offset stands where the last commit left it.
func (p *partition) run(ctx context.Context) {
	defer p.note(p.name(), nil)
	defer p.meters.released(p)
	for pause := 50 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 5*time.Second) {
		before := p.offsets.next
		err := p.session(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errMoved), errors.Is(err, errJumped):
			p.log.InfoContext(ctx, "reading the offset again", "reason", err)
		default:
			p.note(p.name(), err)
			p.meters.waiting(ctx, p)
			p.log.WarnContext(ctx, "the partition waits and tries again", "next", p.offsets.next, "error", err)
		}
		if p.offsets.next != before {
			pause = 50 * time.Millisecond
		}
		wait(ctx, pause)
	}
}

// session reads on from the stored offset until something fails.
func (p *partition) session(ctx context.Context) error {
	if err := p.take(ctx); err != nil {
		return err
	}
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: p.Kafka.Brokers, Dialer: p.Kafka.dialer(), Topic: p.Kafka.TopicPrefix + p.topic, Partition: p.id,
		MinBytes: 1, MaxBytes: 8 * outbox.MaxBytes, MaxWait: idleWait, QueueCapacity: pollRecords,
		ReadBackoffMin: 20 * time.Millisecond, ReadBackoffMax: 500 * time.Millisecond,
	})
	defer func() { _ = reader.Close() }() // it holds nothing that a close could lose
	if err := reader.SetOffset(p.offsets.next); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := p.step(ctx, reader); err != nil {
			return err
		}
		p.note(p.name(), nil)
	}
	return nil
}

// step watches the log's ends, tries what is parked, and applies what one poll brings.
func (p *partition) step(ctx context.Context, reader *kafka.Reader) error {
	if time.Since(p.watched) >= watchEvery {
		if err := p.watch(ctx); err != nil {
			return err
		}
	}
	if err := p.retryParked(ctx); err != nil {
		return err
	}
	records, err := p.poll(ctx, reader)
	if err != nil || len(records) == 0 {
		return err
	}
	last, cancel := lingering(ctx, stopWithin)
	defer cancel()
	if n := unbroken(records, p.offsets.next); n < len(records) {
		if err := p.applyBefore(last, records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return p.apply(last, records)
}

// applyBefore brings records to their end that have a gap behind them, and asks what the gap is: nothing, where a
// transaction's marker or compaction left it, or what retention deleted. A reader whose records were deleted before it
// fetched them goes on with the next that there are, and says nothing.
func (p *partition) applyBefore(ctx context.Context, records []Record) error {
	if len(records) > 0 {
		if err := p.apply(ctx, records); err != nil {
			return err
		}
	}
	return p.watch(ctx)
}

// unbroken is how many of records follow each other without a gap, beginning at next.
func unbroken(records []Record, next int64) int {
	for i, r := range records {
		if r.Offset != next+int64(i) {
			return i
		}
	}
	return len(records)
}

// poll waits for a first record and takes what comes within pollWait of it: a transaction costs the same for many.
func (p *partition) poll(ctx context.Context, reader *kafka.Reader) ([]Record, error) {
	first, err := p.fetch(ctx, reader, idleWait, 1)
	if err != nil || len(first) == 0 {
		return nil, err
	}
	more, err := p.fetch(ctx, reader, pollWait, pollRecords-1)
	if err != nil {
		return nil, err
	}
	return append(first, more...), nil
}

// fetch takes up to most records, for as long as limit.
func (p *partition) fetch(ctx context.Context, reader *kafka.Reader, limit time.Duration, most int) (records []Record, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for len(records) < most {
		m, err := reader.FetchMessage(ctx)
		if err != nil && ctx.Err() != nil {
			return records, nil // nothing more for now
		}
		if err != nil {
			return nil, fmt.Errorf("read from Kafka: %w", err)
		}
		records = append(records, recordOf(p.topic, m))
	}
	return records, nil
}

// lingering is a context that ends some time after ctx does, so that what was begun can be finished.
func lingering(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(d, cancel) })
	return last, func() { stop(); cancel() }
}
