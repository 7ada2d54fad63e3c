package kafka

import (
	"context"
	"errors"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

// apply brings records to their end, each of them: applied, parked or dead. It fails only for what is no record's
// fault, and then the offset stands before the first record that was not settled.
//
// A batch that fails by a record's fault is halved until the record stands alone. Halves run in order, each in its own
// transaction, so neighbours commit and the offset never skips.
func (p *partition) apply(ctx context.Context, records []Record) error {
	if p.topic == ReplayTopic(p.Group) {
		return p.replay(ctx, records)
	}
	err := p.settle(ctx, records, func(ctx context.Context, tx *database.Tx) (counts, error) {
		if _, err := call(ctx, p.Handle, tx, records); err != nil {
			return counts{}, err
		}
		return counts{applied: int64(len(records))}, nil
	})
	switch {
	case err == nil:
		p.meters.settled(ctx, p, "applied", len(records))
		return nil
	case p.Keep, blameless(ctx, err):
		return err
	case len(records) == 1:
		return p.refuse(ctx, records[0], err)
	}
	half := len(records) / 2
	if err := p.apply(ctx, records[:half]); err != nil {
		return err
	}
	return p.apply(ctx, records[half:])
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
	ctx, span := p.startBatch(ctx, records)
	defer span.End()
	to := records[len(records)-1].Offset + 1
	var after row
	err := p.DB.Tx(ctx, func(tx *database.Tx) error {
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
	if err != nil {
		span.RecordError(err)
		return err
	}
	p.offsets = after
	p.progress.set(p.Kafka.TopicPrefix+p.topic, p.id, to)
	p.AfterCommit()
	return nil
}
