package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

// Config is the part of a service's settings that concerns its outbox.
type Config struct {
	// Retention is how long sent events stay to be republished.
	Retention time.Duration `mapstructure:"outbox_retention"`
	// Poll is how often the relay looks for commits that nobody woke it for.
	Poll time.Duration `mapstructure:"outbox_poll"`
	// Batch is the most events in one send.
	Batch int `mapstructure:"outbox_batch"`
}

// Defaults keep a week and look every 25 ms.
func Defaults() Config {
	return Config{Retention: 7 * 24 * time.Hour, Poll: 25 * time.Millisecond, Batch: 2000}
}

// Check says what is wrong with c, all at once; nil when nothing is.
func (c Config) Check() []string {
	var bad []string
	if c.Retention < time.Minute {
		bad = append(bad, fmt.Sprintf("outbox_retention is %v: at least 1m is needed", c.Retention))
	}
	if c.Poll < time.Millisecond || c.Poll > time.Second {
		bad = append(bad, fmt.Sprintf("outbox_poll is %v: it must be from 1ms to 1s", c.Poll))
	}
	if c.Batch < 1 || c.Batch > 100_000 {
		bad = append(bad, fmt.Sprintf("outbox_batch is %d: it must be from 1 to 100000", c.Batch))
	}
	return bad
}

// RelayConfig is what a relay works with. A zero Config means Defaults; Log and Meter may be nil.
type RelayConfig struct {
	DB     *database.DB
	Sender Sender
	Source string // ce_source
	Log    *slog.Logger
	Meter  metric.MeterProvider
	Config Config
}

// Relay moves committed events to its Sender. Any number of relays, in any number of processes, may run on one
// Postgres database: they share the shards evenly, and each shard has one relay at a time. SQLite is for one process:
// a second relay there would send everything twice.
type Relay struct {
	RelayConfig
	source  []byte // Source as a header has it
	wake    chan struct{}
	meters  meters
	trouble map[int16]trouble // shards whose last send failed; only the goroutine of Run uses it

	mu     sync.Mutex // guards health
	health error
}

// trouble is a shard's failing: it waits until again, alone, so that healthy shards go on.
type trouble struct {
	failures int
	again    time.Time
	err      error
}

// NewRelay returns a relay that does nothing before Run.
func NewRelay(cfg RelayConfig) *Relay {
	if cfg.Config == (Config{}) {
		cfg.Config = Defaults()
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Relay{
		RelayConfig: cfg,
		source:      []byte(cfg.Source),
		wake:        make(chan struct{}, 1),
		meters:      newMeters(cfg.Meter),
		trouble:     map[int16]trouble{},
		health:      errors.New("the outbox relay has not started"),
	}
}

// Wake tells the relay that something was committed, so that it need not wait for its next look. It never blocks.
func (r *Relay) Wake() {
	select {
	case r.wake <- struct{}{}:
	default: // it is awake already
	}
}

// Health is nil while events flow: the database answers and no send is failing. A relay that owns no shard, because
// others own them all, is healthy.
func (r *Relay) Health() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.health
}

func (r *Relay) setHealth(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.health = err
}

// Run relays until ctx ends; nil then. It waits out what fails: the database, the Sender.
func (r *Relay) Run(ctx context.Context) error {
	var sweeping sync.WaitGroup
	sweeping.Go(func() { r.sweep(ctx) })
	defer sweeping.Wait()
	for failures := 0; ctx.Err() == nil; {
		started := time.Now()
		err := r.session(ctx)
		if ctx.Err() != nil {
			break
		}
		if time.Since(started) > 10*time.Second {
			failures = 0
		}
		failures++
		r.setHealth(fmt.Errorf("relay the outbox: %w", err))
		r.Log.WarnContext(ctx, "the outbox relay gave up its shards and starts again", "error", err)
		r.pause(ctx, backoff(failures), nil)
	}
	return nil
}

// position is where the reading of some shards stands. Everything visible in the snapshot done was sent; while until
// is set, the rows that became visible between the two are being sent in id order, up to high, and are sent up to
// after. SQLite uses after alone.
type position struct {
	done, until string
	after, high int64
}

// lane is a set of shards that stand at one position; they are read and sent together.
type lane struct {
	shards []int16
	at     position
}

// row is an Event in the outbox.
type row struct {
	Event
	id                    int64
	shard                 int16
	createdAt, occurredAt int64
	traceparent           string
	tracestate            string
}

// reader reads committed rows for the shards that it owns. Nothing that was committed is missed, and rows of one shard
// come in an order that keeps the order of each key.
type reader interface {
	// look finds out what was committed since, and returns the lanes that have rows to send.
	look(ctx context.Context) ([]lane, error)
	// read is the next page of the lane.
	read(ctx context.Context, l lane, limit int) ([]row, error)
	// advance records that page was sent. It fails when the lane's shards may belong to another relay by now.
	advance(ctx context.Context, l lane, page []row) error
	// tend does what is due now and then: it joins, takes shards, gives up those beyond its share, measures.
	tend(ctx context.Context) error
	// alive fails when the shards may belong to another relay by now.
	alive(ctx context.Context) error
	close()
}

// session relays as the owner of some shards until something fails that puts the ownership in doubt.
func (r *Relay) session(ctx context.Context) error {
	in, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer in.close()
	clear(r.trouble)
	for {
		if err := in.tend(ctx); err != nil {
			return err
		}
		began := time.Now()
		sent, err := r.round(ctx, in)
		if err != nil {
			return err
		}
		r.setHealth(r.worst())
		if !r.rest(ctx, sent, began) {
			return ctx.Err()
		}
	}
}

const (
	// pace is how long after its beginning a round that sent little is followed by the next: a round costs the same
	// statements and requests for one event as for many, and what comes meanwhile shares them. An event after a calm waits
	// for nothing.
	pace = 10 * time.Millisecond
	// much is a round that is followed at once: more waits already.
	much = 500
)

// rest waits until the next round should begin; false when ctx ended.
func (r *Relay) rest(ctx context.Context, sent int, began time.Time) bool {
	switch early := pace - time.Since(began); {
	case sent == 0:
		return r.pause(ctx, r.Config.Poll, r.wake)
	case sent < much && early > 0:
		return r.pause(ctx, early, nil)
	}
	return ctx.Err() == nil
}

func (r *Relay) open(ctx context.Context) (reader, error) {
	if r.DB.Dialect == database.SQLite {
		return openSQLite(r), nil
	}
	return openPostgres(ctx, r)
}

// round sends one page of each lane that has rows and need not wait.
func (r *Relay) round(ctx context.Context, in reader) (sent int, err error) {
	lanes, err := in.look(ctx)
	if err != nil {
		return 0, err
	}
	for _, l := range r.apart(lanes) {
		n, err := r.page(ctx, in, l)
		if err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// apart cuts failing shards out of their lanes, so that an event that Kafka refuses stops its own shard only. Those
// that may try again come last, each alone.
func (r *Relay) apart(lanes []lane) []lane {
	var healthy, failing []lane
	for _, l := range lanes {
		var well []int16
		for _, s := range l.shards {
			t, bad := r.trouble[s]
			switch {
			case !bad:
				well = append(well, s)
			case time.Now().After(t.again):
				failing = append(failing, lane{shards: []int16{s}, at: l.at})
			}
		}
		if len(well) > 0 {
			healthy = append(healthy, lane{shards: well, at: l.at})
		}
	}
	slices.SortStableFunc(failing, func(a, b lane) int {
		return cmp.Compare(r.trouble[a.shards[0]].failures, r.trouble[b.shards[0]].failures)
	})
	return append(healthy, failing...)
}

// page sends the lane's next page and then moves its cursor: in this order, so that what a crash between the two does
// is a second send and never none.
func (r *Relay) page(ctx context.Context, in reader, l lane) (int, error) {
	page, err := in.read(ctx, l, r.Config.Batch)
	if err != nil {
		return 0, err
	}
	if len(page) > 0 {
		failed, lost := r.send(ctx, in, r.messages(page))
		if lost != nil {
			return 0, lost
		}
		if failed != nil {
			r.blame(ctx, l, failed)
			return 0, nil
		}
		r.meters.acked(ctx, page)
	}
	for _, s := range l.shards {
		delete(r.trouble, s)
	}
	if err := in.advance(ctx, l, page); err != nil {
		return 0, err
	}
	return len(page), nil
}

// watchEvery is how often a relay makes sure of its shards during a send.
const watchEvery = time.Second

// send hands messages to the Sender and watches meanwhile that the shards are still ours: a Sender that waits for a
// broker would otherwise write, much later, beside the next owner. failed is the Sender's error, lost the ownership's.
func (r *Relay) send(ctx context.Context, in reader, messages []Message) (failed, lost error) {
	sending, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		for r.pause(sending, watchEvery, nil) {
			if err := in.alive(ctx); err != nil { // not sending: its end would break off the question and the connection
				cancel(fmt.Errorf("the shards were lost during a send: %w", err))
			}
		}
	})
	failed = r.Sender.Send(sending, messages)
	if failed != nil && sending.Err() != nil {
		lost = context.Cause(sending)
	}
	cancel(nil)
	watching.Wait()
	return failed, lost
}

func (r *Relay) blame(ctx context.Context, l lane, err error) {
	r.meters.failures.Add(ctx, 1)
	for _, s := range l.shards {
		t := r.trouble[s]
		t.failures++
		t.err = err
		t.again = time.Now().Add(backoff(t.failures))
		r.trouble[s] = t
	}
	r.Log.WarnContext(ctx, "events of the outbox could not be sent; they stay and are tried again",
		"shards", l.shards, "attempt", r.trouble[l.shards[0]].failures, "error", err)
}

// worst is the error of the shard that has failed most often.
func (r *Relay) worst() error {
	var worst trouble
	for _, t := range r.trouble {
		if t.failures > worst.failures {
			worst = t
		}
	}
	if worst.err == nil {
		return nil
	}
	return fmt.Errorf("send events of %d shards, %d attempts: %w", len(r.trouble), worst.failures, worst.err)
}

// backoff grows from 50 ms to 5 s, with jitter.
func backoff(failures int) time.Duration {
	d := min(50*time.Millisecond<<min(failures, 10), 5*time.Second)
	return d/2 + rand.N(d/2)
}

// pause waits for d, or until woken; false when ctx ended.
func (r *Relay) pause(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-wake:
	}
	return true
}

func (r *Relay) messages(page []row) []Message {
	messages := make([]Message, len(page))
	for i, p := range page {
		messages[i] = Message{Topic: p.Topic, Key: p.Key, Value: p.Value, Headers: p.Headers}
		if p.Type != "" {
			messages[i].Headers = append(r.cloudEvent(p), p.Headers...)
		}
	}
	return messages
}

// Values that every event has are shared; nobody writes into a header.
var (
	specVersion = []byte("1.0")
	contentType = []byte("application/protobuf")
)

// cloudEvent is the CloudEvents Kafka binding in binary mode.
func (r *Relay) cloudEvent(p row) []Header {
	headers := make([]Header, 0, 9+len(p.Headers))
	for _, h := range [...]Header{
		{"ce_specversion", specVersion},
		{"ce_id", []byte(p.ID)},
		{"ce_type", []byte(p.Type)},
		{"ce_source", r.source},
		{"ce_time", time.UnixMilli(p.occurredAt).UTC().AppendFormat(nil, "2006-01-02T15:04:05.000Z07:00")},
		{"content-type", contentType},
		{"traceparent", []byte(p.traceparent)},
		{"tracestate", []byte(p.tracestate)},
	} {
		if len(h.Value) > 0 {
			headers = append(headers, h)
		}
	}
	if p.Version != 0 {
		headers = append(headers, Header{Key: "aggregate-version", Value: strconv.AppendInt(nil, p.Version, 10)})
	}
	return headers
}
