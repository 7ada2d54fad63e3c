// Package outbox carries events from a business transaction to Kafka: none lost, none invented, in order for each key.
//
// A transaction appends its events with AppendTx, so that they exist exactly when its effects do. A Relay reads what was
// committed, in an order that cannot skip a transaction that was slow to commit, and moves its cursor only once every
// in-sync replica has the events. After a crash an event may be sent twice, under the same id; never less than once.
package outbox

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"unicode/utf8"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

//go:embed migrations
var files embed.FS

// Migrations are the outbox's own tables.
var Migrations = database.Migrations{Owner: "outbox", Files: database.Folder(files, "migrations")}

// Shards is how many parts the keys are spread over. A part has one relay at a time. The number is in the rows and in
// the migrations: it never changes.
const Shards = 16

const (
	// MaxBytes is the largest record, key and headers included, that a topic takes.
	MaxBytes = 1 << 20
	// MaxLetterBytes is the largest record of a dead-letter or replay topic: whatever fits elsewhere fits there with
	// the metadata of a letter around it.
	MaxLetterBytes = MaxBytes + 1<<20
	// envelope is put aside for what the relay and Kafka's format add to a record: the CloudEvents headers' names and
	// fixed values, the source, the trace, the framing.
	envelope = 2 << 10
)

// ErrTooLarge says that no topic would take an event of this size. No retry cures it.
var ErrTooLarge = errors.New("event is too large")

// Limit is the largest record that topic takes; topics are made with it and writers allow it.
func Limit(topic string) int {
	if strings.HasPrefix(topic, "dlq-") || strings.HasPrefix(topic, "replay-") {
		return MaxLetterBytes
	}
	return MaxBytes
}

// Header is one Kafka header, bytes as they are.
type Header struct {
	Key   string
	Value []byte
}

// Event is one record to be sent. ID, Type, Source and Time become CloudEvents headers (ce_id, ce_type, ce_source,
// ce_time, content-type); an event without a Type is sent with exactly the Headers it has.
type Event struct {
	ID      string // stable: a re-send and a replay carry the same
	Type    string // full protobuf name
	Topic   string // without the prefix of the installation
	Key     []byte
	Value   []byte // nil is a null value
	Version int64  // the aggregate's version, header aggregate-version; 0 for none
	Headers []Header
}

// check says what makes e unfit for any topic.
func (e Event) check() error {
	switch {
	case e.ID == "":
		return fmt.Errorf("event of type %q for topic %q has no id", e.Type, e.Topic)
	case e.Topic == "":
		return fmt.Errorf("event %s has no topic", e.ID)
	}
	for _, s := range []string{e.ID, e.Type, e.Topic} {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return fmt.Errorf("event %q for %q: id, type and topic are text without NUL", e.ID, e.Topic)
		}
	}
	if size, most := e.size(), Limit(e.Topic); size > most {
		return fmt.Errorf("event %s for %s: %w: %d bytes, at most %d", e.ID, e.Topic, ErrTooLarge, size, most)
	}
	return nil
}

// size is what the record takes in Kafka at most.
func (e Event) size() int {
	n := len(e.Key) + len(e.Value) + len(e.ID) + len(e.Type) + envelope
	for _, h := range e.Headers {
		n += len(h.Key) + len(h.Value) + 10 // two lengths
	}
	return n
}

// shard is the part of the outbox that e's key belongs to.
func shard(key []byte) int16 {
	h := fnv.New32a()
	_, _ = h.Write(key)
	return int16(h.Sum32() % Shards) // below Shards
}

// AppendTx writes events into tx's outbox in the order given. An event that no topic would take is refused with
// ErrTooLarge before anything is written. The trace in ctx travels with them where it is recorded; see WithTraces.
//
// Events of one key keep their order across transactions as long as whoever appends holds the lock of the key's row.
func AppendTx(ctx context.Context, tx *database.Tx, events ...Event) error {
	write, err := Append(ctx, tx.Dialect, events...)
	if err != nil {
		return err
	}
	return tx.ExecAll(ctx, write)
}

// Append is AppendTx for who runs the statement beside others.
func Append(ctx context.Context, d database.Dialect, events ...Event) (database.Statement, error) {
	for _, e := range events {
		if err := e.check(); err != nil {
			return database.Statement{}, err
		}
	}
	traces, words, args := carriers(ctx, events)
	return database.Write(fmt.Sprintf("append %d events to the outbox", len(events)), rows(events, traces...), `
		INSERT INTO outbox (created_at, occurred_at, version, shard, copy, event_id, type, topic, key, value, headers,
			traceparent, tracestate)
		SELECT t.now, t.now, v.version, v.shard, false, v.event_id, v.type, v.topic, v.key, v.value, v.headers, `+words+`
		FROM v, (SELECT `+d.NowMS()+` AS now) t ORDER BY v.n`, args...), nil
}

func rows(events []Event, more ...database.Column) database.Values {
	return database.NewValues(append([]database.Column{
		column(events, "n", "bigint", func(i int, _ *Event) int64 { return int64(i) }),
		column(events, "version", "bigint", func(_ int, e *Event) int64 { return e.Version }),
		column(events, "shard", "smallint", func(_ int, e *Event) int16 { return shard(e.Key) }),
		column(events, "event_id", "text", func(_ int, e *Event) string { return e.ID }),
		column(events, "type", "text", func(_ int, e *Event) string { return e.Type }),
		column(events, "topic", "text", func(_ int, e *Event) string { return e.Topic }),
		column(events, "key", "bytea", func(_ int, e *Event) []byte { return e.Key }),
		column(events, "value", "bytea", func(_ int, e *Event) []byte { return e.Value }),
		column(events, "headers", "bytea", func(_ int, e *Event) []byte { return EncodeHeaders(e.Headers) }),
	}, more...)...)
}

func column[T any](events []Event, name, typ string, of func(i int, e *Event) T) database.Column {
	elems := make([]T, len(events))
	for i := range events {
		elems[i] = of(i, &events[i])
	}
	return database.Col(name, typ, elems)
}

// Message is an Event as the relay hands it over: all headers in place.
type Message struct {
	Topic   string
	Key     []byte
	Value   []byte
	Headers []Header
}

// Sender delivers messages; nil means every one is acknowledged by all in-sync replicas. Messages of one key keep their
// order. An error means that any of them may or may not have been written.
type Sender interface {
	Send(ctx context.Context, messages []Message) error
}
