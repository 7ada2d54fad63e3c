// Package kafka is the suite's one way to Kafka: topics, a writer, and the consumer runtime.
//
// The runtime promises that a record's effects and the group's progress are one transaction, so that a record counts
// once however often it arrives and whoever is killed; that a record which fails stands alone, is tried again while its
// neighbours go on, and ends in a dead-letter topic as it came; and that the absence of a database or of Kafka is waited
// for and never blamed on a record.
package kafka

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
)

//go:embed migrations
var files embed.FS

// Migrations are the consumers' own tables.
var Migrations = database.Migrations{Owner: "kafka", Files: database.Folder(files, "migrations")}

// Header is one header of a record, bytes as they are.
type Header = outbox.Header

func text(key, value string) Header { return Header{Key: key, Value: []byte(value)} }

// Record is one record as it was read. Topic is without the installation's prefix.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	Key       []byte
	Value     []byte
	Headers   []Header
	Time      time.Time
}

// Header is the value of the last header called key, "" when there is none.
func (r Record) Header(key string) string {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if r.Headers[i].Key == key {
			return string(r.Headers[i].Value)
		}
	}
	return ""
}

// Type is the record's CloudEvents type.
func (r Record) Type() string { return r.Header("ce_type") }

// EventID is the record's CloudEvents id: a re-send and a replay carry the same.
func (r Record) EventID() string { return r.Header("ce_id") }

// recordOf takes what r holds; r is the library's again after it.
func recordOf(topic string, partition int, r *protocol.Record) (Record, error) {
	key, err := whole(r.Key)
	if err != nil {
		return Record{}, fmt.Errorf("the key of record %d: %w", r.Offset, err)
	}
	value, err := whole(r.Value)
	if err != nil {
		return Record{}, fmt.Errorf("the value of record %d: %w", r.Offset, err)
	}
	out := Record{Topic: topic, Partition: partition, Offset: r.Offset, Key: key, Value: value, Time: r.Time}
	if len(r.Headers) > 0 {
		out.Headers = make([]Header, len(r.Headers))
		for i, h := range r.Headers {
			out.Headers[i] = Header{Key: h.Key, Value: h.Value}
		}
	}
	return out, nil
}

// whole reads bytes to their end and gives their memory back; nil is nil.
func whole(b protocol.Bytes) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	defer func() { _ = b.Close() }() // it cannot fail
	return protocol.ReadAll(b)
}

// Handler applies records in tx, in the order given: effects and outgoing events (outbox.AppendTx), nothing else.
// changed[i] says whether record i changed anything; false means that it was applied before. An error means that
// nothing of the batch may stand: the runtime rolls back and finds out which record is at fault by trying parts of the
// batch, so a handler need not say. Undecodable and Permanent mark errors that no retry cures.
type Handler func(ctx context.Context, tx *database.Tx, records []Record) (changed []bool, err error)

// fault is an error that is the record's own and that no retry cures.
type fault struct {
	kind string
	raw  bool // the bytes cannot be read
	err  error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// Undecodable marks err as bytes that cannot be read: the record goes to dlq-raw-errors at once.
func Undecodable(err error) error { return &fault{kind: "undecodable", raw: true, err: err} }

// Permanent marks err as one that no retry cures: the record goes to dlq-orders-v1 at once. kind is a short stable
// word for operators, such as "malformed-order".
func Permanent(kind string, err error) error { return &fault{kind: kind, err: err} }

// kindOf is the word for err that operators group by.
func kindOf(err error) string {
	var f *fault
	if errors.As(err, &f) {
		return f.kind
	}
	return "failed"
}

// blameless says that err is not the record's: the database is away, a transaction lost a race, the process stops. The
// batch runs again and nothing is parked for it.
func blameless(ctx context.Context, err error) bool {
	var f *fault
	if errors.As(err, &f) {
		return false
	}
	return ctx.Err() != nil || errors.Is(err, context.Canceled) || errors.Is(err, errMoved) ||
		database.Unavailable(err) || database.Retryable(err)
}

// call runs the handler; a panic is the record's fault like any other error.
func call(ctx context.Context, handle Handler, tx *database.Tx, records []Record) (changed []bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the handler panicked: %v", r)
		}
	}()
	changed, err = handle(ctx, tx, records)
	if err == nil && len(changed) != len(records) {
		return nil, fmt.Errorf("the handler answered for %d of %d records", len(changed), len(records))
	}
	return changed, err
}
