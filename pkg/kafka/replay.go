package kafka

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
)

// Headers of a replayed record and of its outcome.
const (
	headerJob     = "replay-job"
	headerLetter  = "replay-letter"
	headerDryRun  = "dry-run"
	headerOutcome = "replay-outcome"
)

// OutcomeKind is what a replay came to.
type OutcomeKind string

// What a replay can come to; of a dry run, what it would come to.
const (
	Applied        OutcomeKind = "applied"
	AlreadyApplied OutcomeKind = "already-applied"
	FailedAgain    OutcomeKind = "failed-again"
)

// Outcome is what the group that applied a replayed letter says of it.
type Outcome struct {
	Job, Letter string
	Group       string
	Kind        OutcomeKind
	DryRun      bool
	ErrorKind   string // of FailedAgain
	Error       string
	AtMS        int64 // unix milliseconds, by the consumer's database
}

// Replay is what makes a record a replay: it is sent to ReplayTopic(group) with the letter's own key, value and headers
// and those of Headers.
type Replay struct {
	Job, Letter string
	Topic       string // where the letter was first read
	DryRun      bool
}

// Headers are what a replayed record carries beside its own.
func (r Replay) Headers() []Header {
	headers := []Header{text(headerJob, r.Job), text(headerLetter, r.Letter), text(headerTopic, r.Topic)}
	if r.DryRun {
		headers = append(headers, text(headerDryRun, "true"))
	}
	return headers
}

// replay runs each record alone, once, and answers for it. A failure makes no dead letter: the letter still exists, and
// its outcome says why it failed again.
func (p *partition) replay(ctx context.Context, records []Record) error {
	var kinds map[OutcomeKind]int
	var each []Outcome
	err := p.settle(ctx, records, func(ctx context.Context, tx *database.Tx) (counts, error) {
		kinds, each = map[OutcomeKind]int{}, nil
		outcomes := make([]outbox.Event, len(records))
		for i, record := range records {
			outcome, err := p.replayTx(ctx, tx, record)
			if err != nil {
				return counts{}, err
			}
			kinds[outcome.Kind]++
			each = append(each, outcome)
			outcomes[i] = outcome.event(record)
		}
		return counts{applied: int64(len(records))}, outbox.AppendTx(ctx, tx, outcomes...)
	})
	if err != nil {
		return err
	}
	for kind, n := range kinds {
		p.meters.settled(ctx, p, string(kind), n)
	}
	for _, outcome := range each {
		p.meters.replayed(ctx, outcome)
	}
	return nil
}

func (p *partition) replayTx(ctx context.Context, tx *database.Tx, record Record) (Outcome, error) {
	now, err := databaseNow(ctx, tx)
	if err != nil {
		return Outcome{}, err
	}
	o := Outcome{
		Job: record.text(headerJob), Letter: record.text(headerLetter), Group: p.Group, Kind: AlreadyApplied,
		DryRun: record.Header(headerDryRun) == "true", AtMS: now,
	}
	if origin := record.Header(headerTopic); origin != "" {
		record.Topic = origin
	}
	end := keep
	if o.DryRun {
		end = undo
	}
	changed, failed := attempt(ctx, tx, p.Handle, record, end)
	switch {
	case failed != nil && blameless(ctx, failed):
		return Outcome{}, failed
	case failed != nil:
		o.Kind, o.ErrorKind, o.Error = FailedAgain, clean(kindOf(failed)), clean(failed.Error())
	case changed:
		o.Kind = Applied
	}
	return o, nil
}

// How an attempt that succeeds ends.
const (
	keep = "RELEASE SAVEPOINT attempt"
	undo = "ROLLBACK TO SAVEPOINT attempt"
)

// attempt runs the handler on one record in a savepoint, so that its failure leaves the transaction usable and nothing
// of what the handler did.
func attempt(ctx context.Context, tx *database.Tx, handle Handler, record Record, end string) (changed bool, err error) {
	if _, err := tx.ExecContext(ctx, "SAVEPOINT attempt"); err != nil {
		return false, err
	}
	did, err := call(ctx, handle, tx, []Record{record})
	if err != nil {
		if blameless(ctx, err) {
			return false, err // the transaction is lost with the connection, or runs again
		}
		end = undo
	}
	if _, broken := tx.ExecContext(ctx, end); broken != nil {
		return false, broken
	}
	return err == nil && did[0], err
}

func (o Outcome) event(r Record) outbox.Event {
	return outbox.Event{
		ID:    fmt.Sprintf("outcome/%s/%s/%d/%d", o.Job, o.Letter, r.Partition, r.Offset),
		Topic: ReplayOutcomes, Key: []byte(o.Letter),
		Headers: []Header{
			text(headerJob, o.Job),
			text(headerLetter, o.Letter),
			text(headerGroup, o.Group),
			text(headerOutcome, string(o.Kind)),
			text(headerDryRun, strconv.FormatBool(o.DryRun)),
			text(headerKind, o.ErrorKind),
			text(headerError, o.Error),
			text(headerLast, strconv.FormatInt(o.AtMS, 10)),
		},
	}
}

// ParseOutcome reads a record of replay-outcomes.
func ParseOutcome(r Record) (Outcome, error) {
	o := Outcome{
		Job: r.text(headerJob), Letter: r.text(headerLetter), Group: r.text(headerGroup),
		Kind: OutcomeKind(r.Header(headerOutcome)), DryRun: r.Header(headerDryRun) == "true",
		ErrorKind: r.text(headerKind), Error: r.text(headerError), AtMS: r.number(headerLast, math.MaxInt64),
	}
	switch o.Kind {
	case Applied, AlreadyApplied, FailedAgain:
		return o, nil
	}
	return Outcome{}, Undecodable(fmt.Errorf("a replay came to %q", o.Kind))
}
