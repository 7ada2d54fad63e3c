package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
)

// Headers of a dead letter. Those of KIP-1191 say the same for tools that know them.
const (
	headerGroup     = "dlq-group"
	headerTopic     = "dlq-topic"
	headerPartition = "dlq-partition"
	headerOffset    = "dlq-offset"
	headerAttempts  = "dlq-attempts"
	headerFirst     = "dlq-first-failed-at"
	headerLast      = "dlq-last-failed-at"
	headerKind      = "dlq-error-kind"
	headerError     = "dlq-error"
	headerOmitted   = "dlq-omitted-bytes"
	kip             = "__dlq.errors."
)

// maxErrorBytes bounds an error's text, so that all headers of a letter stay below 8 KiB.
const maxErrorBytes = 2 << 10

// DeadLetter is a record that a group gave up, with what an operator needs to decide. The record within has the headers
// it had when it was first read.
type DeadLetter struct {
	Record         // as it was, at the topic, partition and offset where the group read it
	Group          string
	Attempts       int
	FirstFailedMS  int64 // unix milliseconds, by the consumer's database
	LastFailedMS   int64
	ErrorKind      string
	Error          string
	OmittedBytes   int  // size of a value, or of all of a record, that no topic would take; 0 as a rule
	Undecodable    bool // it was read from dlq-raw-errors
	WithoutOrigins bool // the record carries none of these headers: someone else wrote it
}

// buryTx writes a dead letter into the outbox of the transaction that moves the offset: the letter exists exactly when
// the group has gone on without the record.
func (p *partition) buryTx(ctx context.Context, tx *database.Tx, f failure) error {
	letter := DeadLetter{
		Record: f.Record, Group: p.Group, Attempts: f.attempts, FirstFailedMS: f.firstMS, LastFailedMS: f.lastMS,
		ErrorKind: clean(kindOf(f.cause)), Error: clean(f.cause.Error()),
	}
	var bytes *fault
	letter.Undecodable = errors.As(f.cause, &bytes) && bytes.raw
	err := outbox.AppendTx(ctx, tx, letter.event())
	if errors.Is(err, outbox.ErrTooLarge) { // a record compressed beyond what any topic takes: say so and where it is
		letter.OmittedBytes, letter.Value = len(f.Value), nil
		err = outbox.AppendTx(ctx, tx, letter.event())
	}
	if errors.Is(err, outbox.ErrTooLarge) {
		letter.OmittedBytes, letter.Key, letter.Headers = bytesOf(f.Record), nil, nil
		err = outbox.AppendTx(ctx, tx, letter.event())
	}
	if err != nil {
		return fmt.Errorf("bury record %d: %w", f.Offset, err)
	}
	return nil
}

// bytesOf is the size of everything in a record.
func bytesOf(r Record) int {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

func (d DeadLetter) event() outbox.Event {
	topic := DeadLetters
	if d.Undecodable {
		topic = RawErrors
	}
	return outbox.Event{
		ID:    fmt.Sprintf("dead/%s/%s/%d/%d", d.Group, d.Topic, d.Partition, d.Offset),
		Topic: topic, Key: d.Key, Value: d.Value, Headers: append(d.without(), d.headers()...),
	}
}

// without are the record's own headers: those of an earlier death are replaced, never added to.
func (d DeadLetter) without() []Header {
	return slices.DeleteFunc(slices.Clone(d.Headers), func(h Header) bool {
		return strings.HasPrefix(h.Key, "dlq-") || strings.HasPrefix(h.Key, kip)
	})
}

func (d DeadLetter) headers() []Header {
	partition, offset, attempts := strconv.Itoa(d.Partition), strconv.FormatInt(d.Offset, 10), strconv.Itoa(d.Attempts)
	headers := []Header{
		text(headerGroup, d.Group),
		text(headerTopic, d.Topic),
		text(headerPartition, partition),
		text(headerOffset, offset),
		text(headerAttempts, attempts),
		text(headerFirst, strconv.FormatInt(d.FirstFailedMS, 10)),
		text(headerLast, strconv.FormatInt(d.LastFailedMS, 10)),
		text(headerKind, d.ErrorKind),
		text(headerError, d.Error),
		text(kip+"topic", d.Topic),
		text(kip+"partition", partition),
		text(kip+"offset", offset),
		text(kip+"group", d.Group),
		text(kip+"delivery.count", attempts),
		text(kip+"message", d.Error),
	}
	if d.OmittedBytes > 0 {
		headers = append(headers, text(headerOmitted, strconv.Itoa(d.OmittedBytes)))
	}
	return headers
}

// ParseDeadLetter reads a record of a dead-letter topic. It takes every record: headers that are missing or make no
// sense leave their fields zero. Its texts fit a text column and its numbers an integer one, whoever wrote the record.
func ParseDeadLetter(r Record) DeadLetter {
	d := DeadLetter{
		Record: r, Group: r.text(headerGroup), Attempts: int(r.number(headerAttempts, math.MaxInt32)),
		FirstFailedMS: r.number(headerFirst, math.MaxInt64), LastFailedMS: r.number(headerLast, math.MaxInt64),
		ErrorKind: r.text(headerKind), Error: r.text(headerError),
		OmittedBytes: int(r.number(headerOmitted, math.MaxInt32)), Undecodable: r.Topic == RawErrors,
	}
	d.WithoutOrigins = r.Header(headerTopic) == ""
	if !d.WithoutOrigins {
		d.Topic = r.text(headerTopic)
		d.Partition, d.Offset = int(r.number(headerPartition, math.MaxInt32)), r.number(headerOffset, math.MaxInt64)
		d.Headers = d.without()
	}
	return d
}

// text is a header of unknown origin, fit for a text column.
func (r Record) text(header string) string { return clean(r.Header(header)) }

// number is a header that counts something; 0 where it says nothing between 0 and most.
func (r Record) number(header string, most int64) int64 {
	n, err := strconv.ParseInt(r.Header(header), 10, 64)
	if err != nil || n < 0 || n > most {
		return 0
	}
	return n
}

// clean makes an error's text fit for a text column and a header: valid UTF-8 without NUL, bounded.
func clean(text string) string {
	if len(text) > maxErrorBytes {
		text = text[:maxErrorBytes]
	}
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "�"), "�")
	for len(text) > maxErrorBytes { // the mark is longer than what it stands for
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}
