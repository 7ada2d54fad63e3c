package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

// apply brings records to their end, each of them: applied, parked or dead. It fails only for what is no record's
// fault, and then the offset stands before the first record that was not settled.
func (p *partition) apply(ctx context.Context, records []Record) error {
	if p.topic == ReplayTopic(p.Group) {
		return p.replay(ctx, records)
	}
	if p.alone > 0 {
		p.alone--
		return p.applyAlone(ctx, records)
	}
	err := p.together(ctx, records)
	switch {
	case err == nil:
		p.meters.settled(ctx, p, "applied", len(records))
		return nil
	case errors.Is(err, errAlone):
		return p.applyAlone(ctx, records)
	}
	return p.divide(ctx, records, err)
}

// applyAlone applies records in a transaction of their own.
func (p *partition) applyAlone(ctx context.Context, records []Record) error {
	err := p.settle(ctx, records, func(ctx context.Context, tx *database.Tx) (counts, error) {
		if _, err := call(ctx, p.Handle, tx, records); err != nil {
			return counts{}, err
		}
		return counts{applied: int64(len(records))}, nil
	})
	if err == nil {
		p.meters.settled(ctx, p, "applied", len(records))
		return nil
	}
	return p.divide(ctx, records, err)
}

// divide goes on after records failed with cause. A batch that fails by a record's fault is halved until the record
// stands alone. Halves run in order, each in its own transaction, so neighbours commit and the offset never skips.
func (p *partition) divide(ctx context.Context, records []Record, cause error) error {
	switch {
	case p.Keep, blameless(ctx, cause):
		return cause
	case len(records) == 1:
		return p.refuse(ctx, records[0], cause)
	}
	p.alone = aloneFor
	half := len(records) / 2
	if err := p.applyAlone(ctx, records[:half]); err != nil {
		return err
	}
	return p.applyAlone(ctx, records[half:])
}

// refuse settles a record whose handler failed: parked for another attempt, or dead at once.
func (p *partition) refuse(ctx context.Context, record Record, cause error) error {
	var f *fault
	permanent := errors.As(cause, &f)
	err := p.settle(ctx, []Record{record}, func(ctx context.Context, tx *database.Tx) (counts, error) {
		now, err := databaseNow(ctx, tx)
		if err != nil {
			return counts{}, err
		}
		death := failure{Record: record, attempts: 1, firstMS: now, lastMS: now, cause: cause}
		if permanent {
			return counts{dead: 1}, p.buryTx(ctx, tx, death)
		}
		return counts{parked: 1}, p.parkTx(ctx, tx, death)
	})
	if err != nil {
		return err
	}
	ctx = p.failed(ctx, record, cause)
	if permanent {
		p.meters.died(ctx, p, kindOf(cause))
		p.log.ErrorContext(ctx, "a record was dead-lettered", "offset", record.Offset, "event", record.EventID(), "error", cause)
		return nil
	}
	p.meters.settled(ctx, p, "parked", 1)
	p.log.WarnContext(ctx, "a record was parked to be tried again", "offset", record.Offset, "event", record.EventID(), "error", cause)
	p.expect(p.Backoff(1))
	return nil
}

// settle runs work and moves the offset past records, both or neither. The offset is moved first: of two who believe
// that they own the partition, one waits here for the other and then finds that it moved.
func (p *partition) settle(ctx context.Context, records []Record, work func(context.Context, *database.Tx) (counts, error)) error {
	ctx, spans := p.trace(ctx, &share{partition: p, records: records})
	to, began := records[len(records)-1].Offset+1, time.Now()
	var after row
	err := p.DB.SteadyTx(ctx, func(tx *database.Tx) error {
		if err := p.moveTx(ctx, tx, to, int64(len(records))); err != nil {
			return err
		}
		done, err := work(ctx, tx)
		if err != nil {
			return err
		}
		after, err = p.countTx(ctx, tx, done)
		return err
	})
	p.meters.worked(ctx, p, time.Since(began), err)
	spans.end(err)
	if err != nil {
		return err
	}
	p.settled(after)
	p.AfterCommit()
	return nil
}
