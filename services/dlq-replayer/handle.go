package dlqreplayer

import (
	"context"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/letter"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/store"
)

// handle is a kafka.Handler for dead letters and for what became of those that were sent back.
func handle(ctx context.Context, tx *database.Tx, records []kafka.Record) ([]bool, error) {
	if records[0].Topic == kafka.ReplayOutcomes { // a batch is of one topic
		return hear(ctx, tx, records)
	}
	return collect(ctx, tx, records)
}

// hear notes outcomes. A record that is none, whoever wrote it, changes nothing.
func hear(ctx context.Context, tx *database.Tx, records []kafka.Record) ([]bool, error) {
	changed := make([]bool, len(records))
	var outcomes []kafka.Outcome
	var at []int
	for i, record := range records {
		if o, err := kafka.ParseOutcome(record); err == nil {
			outcomes, at = append(outcomes, o), append(at, i)
		}
	}
	if len(outcomes) == 0 {
		return changed, nil
	}
	news, err := store.HearTx(ctx, tx, outcomes)
	for i, fresh := range news {
		changed[at[i]] = fresh
	}
	return changed, err
}

// collect stores a batch of dead letters. It takes every record, whoever wrote it: what cannot be stored now is waited for
// and never skipped.
func collect(ctx context.Context, tx *database.Tx, records []kafka.Record) ([]bool, error) {
	letters := make([]letter.Letter, len(records))
	for i, record := range records {
		letters[i] = read(record)
	}
	return store.CollectTx(ctx, tx, letters)
}

// read is the letter that a record of a dead-letter topic is.
func read(record kafka.Record) letter.Letter {
	dead := kafka.ParseDeadLetter(record)
	l := letter.Letter{
		Group: dead.Group, EventID: fit(dead.EventID()), Type: fit(dead.Type()), Raw: dead.Undecodable, Topic: dead.Topic,
		Partition: dead.Partition, Offset: dead.Offset, Key: dead.Key, Value: dead.Value, Omitted: dead.OmittedBytes,
		Last: letter.Failure{Attempts: dead.Attempts, FirstMS: dead.FirstFailedMS, LastMS: dead.LastFailedMS, Kind: dead.ErrorKind, Error: dead.Error},
	}
	for _, h := range dead.Headers {
		l.Headers = append(l.Headers, letter.Header(h))
	}
	if dead.WithoutOrigins {
		readOthers(&l, record)
	}
	if l.Last.LastMS == 0 {
		l.Last.LastMS = record.Time.UnixMilli()
	}
	if l.Last.FirstMS == 0 {
		l.Last.FirstMS = l.Last.LastMS
	}
	l.ID = letter.Identify(l)
	for _, text := range []*string{&l.Group, &l.Topic, &l.Type, &l.EventID, &l.Last.Kind} {
		*text = clamp(*text)
	}
	l.Last.Topic, l.Last.Partition, l.Last.Offset = l.Topic, l.Partition, l.Offset
	l.Cause = letter.Cause(l.Group, l.Last.Kind, l.Last.Error)
	return l
}

// others are the headers in which other tools say the same, the most trusted first.
var others = struct {
	group, topic, partition, offset, kind, message []string
	binaryPartition, binaryOffset                  string
}{
	group:     []string{"__dlq.errors.group", "kafka_dlt-original-consumer-group"},
	topic:     []string{"__dlq.errors.topic", "kafka_dlt-original-topic"},
	partition: []string{"__dlq.errors.partition"},
	offset:    []string{"__dlq.errors.offset"},
	// Spring writes its numbers as big-endian bytes, not as text.
	binaryPartition: "kafka_dlt-original-partition",
	binaryOffset:    "kafka_dlt-original-offset",
	kind:            []string{"__dlq.errors.exception.class.name", "kafka_dlt-exception-fqcn"},
	message:         []string{"__dlq.errors.message", "__dlq.errors.exception.message", "kafka_dlt-exception-message"},
}

// readOthers fills in what another tool's headers say. Where they name no place it is that of the dead letter itself, which
// names it as well.
func readOthers(l *letter.Letter, record kafka.Record) {
	first := func(names []string) string {
		for _, name := range names {
			if value := record.Header(name); value != "" {
				return fit(value)
			}
		}
		return ""
	}
	l.Group, l.Last.Kind, l.Last.Error = first(others.group), first(others.kind), first(others.message)
	if topic := first(others.topic); topic != "" {
		l.Topic = topic
	}
	if partition, err := strconv.ParseInt(first(others.partition), 10, 32); err == nil && partition >= 0 {
		l.Partition = int(partition)
	}
	if offset, err := strconv.ParseInt(first(others.offset), 10, 64); err == nil && offset >= 0 {
		l.Offset = offset
	}
	if b := []byte(record.Header(others.binaryPartition)); len(b) == 4 && b[0] < 0x80 {
		l.Partition = int(binary.BigEndian.Uint32(b))
	}
	if b := []byte(record.Header(others.binaryOffset)); len(b) == 8 && b[0] < 0x80 {
		l.Offset = int64(binary.BigEndian.Uint64(b)) // its highest bit is not set
	}
}

// fit makes a header's text fit for a text column; what had to go is still in the header itself.
func fit(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "�"), "�")
}

// clamp keeps as much of a word from a header as an index takes. The header has it all.
func clamp(word string) string {
	if len(word) > letter.MaxWord {
		return strings.ToValidUTF8(word[:letter.MaxWord], "")
	}
	return word
}
