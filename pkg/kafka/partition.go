package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	pollRecords = 500
	watchEvery  = 2 * time.Second        // how often the topics are asked for
	stopWithin  = 700 * time.Millisecond // a batch in hand may finish so long after the stop
)

// partition is one partition while this member owns it. One goroutine works on it; what another owner does at the same
// time, because this one was stopped, fails at the offset.
type partition struct {
	*Consumer
	log      *slog.Logger
	progress *progress
	feed     *feed
	topic    string // without the prefix
	id       int

	offsets row       // as the last transaction that stood left it
	leader  int       // the broker that had the partition when the session began
	fetched []Record  // that were not polled yet
	at      int64     // where to fetch on
	due     time.Time // when the first parked record may be tried again; zero for none
	alone   int       // polls to come that join no round
}

func (c *Consumer) partition(topic string, id int, feed *feed, progress *progress) *partition {
	topic = strings.TrimPrefix(topic, c.Kafka.TopicPrefix)
	return &partition{Consumer: c, topic: topic, id: id, feed: feed, progress: progress, log: c.Log.With("topic", topic, "partition", id)}
}

func (p *partition) name() string { return fmt.Sprintf("%s/%d", p.topic, p.id) }

// run works until ctx ends. Whatever fails is waited out: the offset stands where the last commit left it.
func (p *partition) run(ctx context.Context) {
	defer p.note(p.name(), nil)
	defer p.meters.released(p)
	p.meters.taken(ctx, p)
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
	leader, err := p.leaderOf(ctx, p.Kafka.TopicPrefix+p.topic, p.id)
	if err != nil {
		return err
	}
	p.fetched, p.at, p.leader = nil, p.offsets.next, leader
	for ctx.Err() == nil {
		if err := p.step(ctx); err != nil {
			return err
		}
		p.note(p.name(), nil)
	}
	return nil
}

// step tries what is parked, and applies what one poll brings.
func (p *partition) step(ctx context.Context) error {
	if err := p.retryParked(ctx); err != nil {
		return err
	}
	records, err := p.poll(ctx)
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
// transaction's marker or compaction left it, or what retention deleted.
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

// poll takes what is there, and waits a little where nothing is.
func (p *partition) poll(ctx context.Context) ([]Record, error) {
	if len(p.fetched) == 0 {
		if err := p.fetch(ctx); err != nil {
			return nil, err
		}
	}
	n := min(pollRecords, len(p.fetched))
	records := p.fetched[:n:n]
	p.fetched = p.fetched[n:]
	return records, nil
}

// fetch reads on from where the last fetch ended, which may lie beyond the offset: what ends in the markers of
// transactions has no records to move it. Only when the broker refuses is it asked where the log begins and ends.
func (p *partition) fetch(ctx context.Context) error {
	began := time.Now()
	got, err := p.feed.fetch(ctx, p, p.at)
	switch {
	case ctx.Err() != nil:
		return err // nothing was begun
	case errors.Is(err, kafka.OffsetOutOfRange):
		if err := p.watch(ctx); err != nil {
			return err
		}
		return fmt.Errorf("read from Kafka at %d: %w", p.at, err)
	case err != nil:
		return fmt.Errorf("read from Kafka: %w", err)
	}
	p.fetched, p.at = got.records, got.next
	p.meters.lag(p, got.end-p.offsets.next)
	if n := len(got.records); n > 0 {
		p.meters.read(ctx, p, time.Since(began), n)
	}
	return nil
}

// lingering is a context that ends some time after ctx does, so that what was begun can be finished.
func lingering(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(d, cancel) })
	return last, func() { stop(); cancel() }
}
