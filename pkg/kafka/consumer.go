package kafka

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/tracing"
)

// ConsumerConfig is what a group works with. Log, Meter, Tracer and AfterCommit may be nil.
type ConsumerConfig struct {
	Group  string
	Topics []string
	Handle Handler
	DB     *database.DB
	Kafka  Config
	Log    *slog.Logger
	Meter  metric.MeterProvider
	Tracer trace.TracerProvider
	// AfterCommit is called after each transaction that stands, to wake the relay.
	AfterCommit func()
	// Keep says that nothing may be skipped: what the handler fails, by whatever error, is waited for. Nothing is parked and
	// nothing dies. It is for who collects dead letters and must not write any about them.
	Keep bool
	// Backoff is how long a parked record waits after its n-th attempt; nil means DefaultBackoff.
	Backoff func(attempt int) time.Duration
}

// Consumer is one member of one group: it reads its share of the topics' partitions, and of the group's replay topic,
// and applies records with Handle.
type Consumer struct {
	ConsumerConfig
	meters meters
	tracer trace.Tracer
	few    tracing.Few   // failures whose traces are recorded though their orders' are not
	client *kafka.Client // for questions about topics
	rounds rounds

	mu      sync.Mutex       // guards what follows
	trouble map[string]error // by partition, "" for the group itself
}

const joining = "" // the trouble of the group itself

// NewConsumer returns a consumer that does nothing before Run.
func NewConsumer(cfg ConsumerConfig) *Consumer {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Tracer == nil {
		cfg.Tracer = noop.NewTracerProvider()
	}
	if cfg.AfterCommit == nil {
		cfg.AfterCommit = func() {}
	}
	if cfg.Backoff == nil {
		cfg.Backoff = DefaultBackoff
	}
	cfg.Log = cfg.Log.With("group", cfg.Group)
	c := &Consumer{
		ConsumerConfig: cfg, meters: newMeters(cfg.Meter, cfg.Group), tracer: cfg.Tracer.Tracer("floodgate/kafka"),
		trouble: map[string]error{joining: errors.New("the group has not been joined yet")},
	}
	c.client = cfg.Kafka.client(c.subscribed()...)
	return c
}

// Health is nil while the member belongs to its group and every partition it owns makes progress.
func (c *Consumer) Health() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]error, 0, len(c.trouble))
	for where, err := range c.trouble {
		if where != joining {
			err = fmt.Errorf("%s: %w", where, err)
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}

// note records or clears the trouble of a partition.
func (c *Consumer) note(where string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.trouble, where)
		return
	}
	c.trouble[where] = err
}

// Run consumes until ctx ends; nil then. It finishes the batch in hand and leaves the group.
func (c *Consumer) Run(ctx context.Context) error {
	defer idle(c.client)
	for pause := 100 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 5*time.Second) {
		started := time.Now()
		err := c.member(ctx)
		if ctx.Err() != nil {
			break
		}
		if time.Since(started) > time.Minute {
			pause = 100 * time.Millisecond
		}
		c.note(joining, err)
		c.Log.WarnContext(ctx, "the group cannot be joined; trying again", "error", err)
		wait(ctx, pause)
	}
	return nil
}

// member joins the group and works through its generations until ctx ends or the group must be joined anew.
//
// It asks for the topics that there are and watches them itself. For one topic that is missing, kafka-go's leader would
// assign no partition of any topic, its watcher would end generation after generation, hundreds in a second, and a
// broker that makes topics by itself would make it.
func (c *Consumer) member(ctx context.Context) error {
	there, err := c.partitions(ctx)
	if err != nil {
		return err
	}
	// kafka-go cannot be told to wait no longer for others to join, which takes as long as the session of one that died. Such
	// a wait has nothing in hand: it ends with its connection, and the group is left by a new one.
	last, cancel := lingering(ctx, leaveWithin)
	defer cancel()
	dialer := c.Kafka.dialer()
	dialer.DialFunc = breakable(last)
	dialer.ClientID += "-" + rand.Text() // of nobody else
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: c.Kafka.TopicPrefix + c.Group, Brokers: c.Kafka.Brokers, Dialer: dialer, Topics: slices.Sorted(maps.Keys(there)),
		SessionTimeout: c.Kafka.SessionTimeout, HeartbeatInterval: min(c.Kafka.SessionTimeout/5, hearEvery), RebalanceTimeout: c.Kafka.SessionTimeout,
		JoinGroupBackoff: 500 * time.Millisecond,
		GroupBalancers:   []kafka.GroupBalancer{kafka.RoundRobinGroupBalancer{}}, Timeout: 10 * time.Second,
	})
	if err != nil {
		return err
	}
	defer func() {
		_ = group.Close() // it leaves the group, but for what leave tells; its error is always nil
		c.leave(context.WithoutCancel(ctx), dialer.ClientID)
	}()
	ctx, leave := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { leave(c.watchTopics(ctx, there)) })
	defer watching.Wait()
	defer leave(nil)
	for {
		generation, err := group.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, kafka.ErrGroupClosed):
			return err
		case err != nil: // a fresh broker answers "coordinator not available" while it makes the offsets topic
			c.note(joining, err)
			c.Log.InfoContext(ctx, "waiting for the group", "error", err)
			continue
		}
		c.serve(ctx, generation, there)
	}
}

// leave sees to it that the member whose client is named so has left. kafka-go's group, closed while it joins or hears that others
// rebalance, ends without leaving, and who joins next would wait for its session to end. What cannot be asked or told now does.
func (c *Consumer) leave(ctx context.Context, client string) {
	ctx, cancel := context.WithTimeout(ctx, leaveWithin)
	defer cancel()
	id := c.Kafka.TopicPrefix + c.Group
	said, err := c.client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{id}})
	if err != nil {
		return
	}
	for _, group := range said.Groups {
		for _, m := range group.Members {
			if m.ClientID == client {
				_, _ = c.client.LeaveGroup(ctx, &kafka.LeaveGroupRequest{
					GroupID: id, Members: []kafka.LeaveGroupRequestMember{{ID: m.MemberID}},
				})
			}
		}
	}
}

const (
	hearEvery   = 3 * time.Second // a member hears of a rebalance so soon, however long its session may be silent
	leaveWithin = 3 * time.Second // after the stop
)

// breakable dials connections that break when ctx ends; those dialed after that do not.
func breakable(ctx context.Context) func(context.Context, string, string) (net.Conn, error) {
	var dialer net.Dialer
	return func(now context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(now, network, addr)
		if err != nil || ctx.Err() != nil {
			return conn, err
		}
		return broken{Conn: conn, forget: context.AfterFunc(ctx, func() { _ = conn.Close() })}, nil // to break it is all that is wanted
	}
}

// broken is a connection that something else may close.
type broken struct {
	net.Conn
	forget func() bool
}

func (b broken) Close() error {
	b.forget()
	return b.Conn.Close()
}

// subscribed are the group's topics, with the prefix. Where nothing dies nothing is replayed.
func (c *Consumer) subscribed() []string {
	topics := slices.Clone(c.Topics)
	if !c.Keep {
		topics = append(topics, ReplayTopic(c.Group))
	}
	for i := range topics {
		topics[i] = c.Kafka.TopicPrefix + topics[i]
	}
	return topics
}

// partitions are the subscribed topics that there are, and how many partitions each has.
func (c *Consumer) partitions(ctx context.Context) (map[string]int, error) {
	topics := c.subscribed()
	meta, err := c.client.Metadata(ctx, &kafka.MetadataRequest{Topics: topics})
	if err != nil {
		return nil, fmt.Errorf("ask for the topics: %w", err)
	}
	there := map[string]int{}
	for _, t := range meta.Topics {
		if t.Error == nil && len(t.Partitions) > 0 {
			there[t.Name] = len(t.Partitions)
		}
	}
	if len(there) == 0 {
		return nil, fmt.Errorf("%s: %w", strings.Join(topics, ", "), errNoTopic)
	}
	return there, nil
}

// leaderOf is the broker that has a partition.
func (c *Consumer) leaderOf(ctx context.Context, topic string, partition int) (id int, err error) {
	meta, err := c.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, fmt.Errorf("ask for the partition's leader: %w", err)
	}
	for _, t := range meta.Topics {
		for _, p := range t.Partitions {
			if t.Name == topic && p.ID == partition && p.Error == nil {
				return p.Leader.ID, nil
			}
		}
	}
	return 0, errors.New("the partition has no leader")
}

var (
	errNoTopic = errors.New("the topic does not exist")
	errTopics  = errors.New("topics or partitions came or went")
)

// watchTopics returns errTopics when what was there changed, or the context's error.
func (c *Consumer) watchTopics(ctx context.Context, there map[string]int) error {
	for wait(ctx, watchEvery) {
		now, err := c.partitions(ctx)
		if errors.Is(err, errNoTopic) || err == nil && !maps.Equal(now, there) {
			return errTopics
		}
	}
	return ctx.Err()
}

// serve starts a goroutine for each partition of the generation; they end with it or with ctx.
func (c *Consumer) serve(ctx context.Context, generation *kafka.Generation, there map[string]int) {
	c.mu.Lock()
	clear(c.trouble) // of partitions that others may own by now
	for _, topic := range c.subscribed() {
		if there[topic] == 0 {
			c.trouble[topic] = errNoTopic
		}
	}
	c.mu.Unlock()
	progress := &progress{next: map[string]map[int]int64{}}
	generation.Start(func(ends context.Context) { c.advise(ctx, ends, generation, progress) })
	feed := newFeed(c)
	generation.Start(func(ends context.Context) {
		ctx, cancel := either(ctx, ends)
		defer cancel()
		feed.run(ctx)
	})
	owned := 0
	for topic, assigned := range generation.Assignments {
		for _, a := range assigned {
			p := c.partition(topic, a.ID, feed, progress)
			owned++
			generation.Start(func(ends context.Context) {
				ctx, cancel := either(ctx, ends)
				defer cancel()
				p.run(ctx)
			})
		}
	}
	c.Log.InfoContext(ctx, "joined the group", "generation", generation.ID, "partitions", owned)
}

// progress is how far the partitions of a generation have come, for Kafka's own books.
type progress struct {
	mu    sync.Mutex // guards next and moved
	next  map[string]map[int]int64
	moved bool
}

func (p *progress) set(topic string, partition int, next int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next[topic] == nil {
		p.next[topic] = map[int]int64{}
	}
	if p.next[topic][partition] != next {
		p.next[topic][partition], p.moved = next, true
	}
}

// take is what changed since the last call, nil when nothing did.
func (p *progress) take() map[string]map[int]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.moved {
		return nil
	}
	p.moved = false
	out := map[string]map[int]int64{}
	for topic, next := range p.next {
		out[topic] = maps.Clone(next)
	}
	return out
}

// advise commits offsets to Kafka twice a second, for the tools people have. Nothing reads them back.
func (c *Consumer) advise(ctx, ends context.Context, generation *kafka.Generation, progress *progress) {
	both, cancel := either(ctx, ends)
	defer cancel()
	for wait(both, 500*time.Millisecond) {
		c.commit(ctx, generation, progress)
	}
	c.commit(ctx, generation, progress)
}

func (c *Consumer) commit(ctx context.Context, generation *kafka.Generation, progress *progress) {
	next := progress.take()
	if next == nil {
		return
	}
	if err := generation.CommitOffsets(next); err != nil {
		c.Log.DebugContext(ctx, "offsets were not committed to Kafka; the database's count", "error", err)
	}
}

// either is a context that ends with the first of two.
func either(ctx, ends context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ends, cancel)
	return ctx, func() { stop(); cancel() }
}

// wait lets d pass; false when ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
