package kafka

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
)

// MaxAttempts is how often a record is tried before it is dead.
const MaxAttempts = 3

// DefaultBackoff is how long a parked record waits after its n-th attempt: one second, then four, each with a jitter of
// a half, so that records parked together do not return together.
func DefaultBackoff(attempt int) time.Duration {
	d := time.Second << (2 * (attempt - 1))
	return d/2 + rand.N(d)
}

// failure is a record that failed and what is known of it.
type failure struct {
	Record
	attempts        int
	firstMS, lastMS int64
	cause           error
}

// parkTx puts a record aside. Nobody waits behind it; the partition's owner tries it again. Where the offset was set back,
// or the topic made anew, the offset may still have a row: then the partition waits until that one is concluded, for it
// may be another record.
func (p *partition) parkTx(ctx context.Context, tx *database.Tx, f failure) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO parked (consumer_group, topic, partition, record_offset, key, value, headers,
			record_time, attempts, first_failed_at, last_failed_at, retry_at, error_kind, error)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		p.Group, p.topic, p.id, f.Offset, f.Key, f.Value, outbox.EncodeHeaders(f.Headers), f.Time.UnixMilli(), f.attempts,
		f.firstMS, f.lastMS, f.lastMS+p.Backoff(f.attempts).Milliseconds(), kindOf(f.cause), clean(f.cause.Error()))
	if err != nil {
		return fmt.Errorf("park record %d: %w", f.Offset, err)
	}
	return nil
}

// expect notes that a parked record may be tried in d.
func (p *partition) expect(d time.Duration) {
	if at := time.Now().Add(d); p.due.IsZero() || at.Before(p.due) {
		p.due = at
	}
}

// retryParked tries every parked record whose time has come.
func (p *partition) retryParked(ctx context.Context) error {
	for !p.due.IsZero() && time.Now().After(p.due) && ctx.Err() == nil {
		last, cancel := lingering(ctx, stopWithin)
		tried, err := p.retryOne(last)
		cancel()
		if err != nil {
			return err
		}
		if !tried {
			return p.sleepUntilDue(ctx)
		}
	}
	return nil
}

// retryOne tries the parked record that has waited longest, in the transaction that then deletes it, times it anew or
// buries it. The handler runs in a savepoint, so that its failure can be written down by the same transaction.
func (p *partition) retryOne(ctx context.Context) (tried bool, err error) {
	var outcome string
	var f failure
	var after row
	err = p.DB.Tx(ctx, func(tx *database.Tx) error {
		outcome = ""
		now, err := databaseNow(ctx, tx)
		if err != nil {
			return err
		}
		f, err = p.dueTx(ctx, tx, now)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		f.attempts++
		f.lastMS = now
		traced, spans := p.trace(ctx, &share{partition: p, records: []Record{f.Record}})
		_, f.cause = attempt(traced, tx, p.Handle, f.Record, keep)
		spans.end(f.cause)
		if f.cause != nil && blameless(ctx, f.cause) {
			return f.cause
		}
		outcome, after, err = p.concludeTx(ctx, tx, f)
		return err
	})
	if err != nil || outcome == "" {
		return false, err
	}
	p.offsets = after
	p.meters.stands(p)
	p.AfterCommit()
	p.report(ctx, f, outcome)
	return true, nil
}

// dueTx locks the parked record that has waited longest; sql.ErrNoRows when none is due.
func (p *partition) dueTx(ctx context.Context, tx *database.Tx, now int64) (failure, error) {
	query := `SELECT record_offset, key, value, headers, record_time, attempts, first_failed_at FROM parked
		WHERE consumer_group = $1 AND topic = $2 AND partition = $3 AND retry_at <= $4 ORDER BY retry_at, record_offset LIMIT 1`
	if tx.Dialect == database.Postgres {
		query += " FOR UPDATE SKIP LOCKED"
	}
	f := failure{Record: Record{Topic: p.topic, Partition: p.id}}
	var headers []byte
	var at int64
	err := tx.QueryRowContext(ctx, query, p.Group, p.topic, p.id, now).
		Scan(&f.Offset, &f.Key, &f.Value, &headers, &at, &f.attempts, &f.firstMS)
	if err != nil {
		return failure{}, err
	}
	f.Time = time.UnixMilli(at)
	f.Headers, err = outbox.DecodeHeaders(headers)
	return f, err
}

// concludeTx writes down what the attempt came to.
func (p *partition) concludeTx(ctx context.Context, tx *database.Tx, f failure) (outcome string, after row, err error) {
	var permanent *fault
	switch {
	case f.cause == nil:
		after, err = p.unparkTx(ctx, tx, f, counts{parked: -1, applied: 1})
		return "applied", after, err
	case errors.As(f.cause, &permanent), f.attempts >= MaxAttempts:
		if err := p.buryTx(ctx, tx, f); err != nil {
			return "", row{}, err
		}
		after, err = p.unparkTx(ctx, tx, f, counts{parked: -1, dead: 1})
		return "dead", after, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE parked SET attempts = $1, last_failed_at = $2, retry_at = $3, error_kind = $4, error = $5
		WHERE consumer_group = $6 AND topic = $7 AND partition = $8 AND record_offset = $9`,
		f.attempts, f.lastMS, f.lastMS+p.Backoff(f.attempts).Milliseconds(), kindOf(f.cause), clean(f.cause.Error()),
		p.Group, p.topic, p.id, f.Offset)
	if err != nil {
		return "", row{}, fmt.Errorf("time record %d anew: %w", f.Offset, err)
	}
	after, err = p.countTx(ctx, tx, counts{})
	return "parked", after, err
}

func (p *partition) unparkTx(ctx context.Context, tx *database.Tx, f failure, add counts) (row, error) {
	_, err := tx.ExecContext(ctx, `DELETE FROM parked WHERE consumer_group = $1 AND topic = $2 AND partition = $3 AND record_offset = $4`,
		p.Group, p.topic, p.id, f.Offset)
	if err != nil {
		return row{}, fmt.Errorf("unpark record %d: %w", f.Offset, err)
	}
	return p.countTx(ctx, tx, add)
}

func (p *partition) report(ctx context.Context, f failure, outcome string) {
	if f.cause != nil {
		ctx = p.failed(ctx, f.Record, f.cause)
	}
	log := p.log.With("offset", f.Offset, "event", f.EventID(), "attempts", f.attempts)
	switch outcome {
	case "applied":
		p.meters.settled(ctx, p, outcome, 1)
		log.InfoContext(ctx, "a parked record was applied")
	case "dead":
		p.meters.died(ctx, p, kindOf(f.cause))
		log.ErrorContext(ctx, "a record was dead-lettered", "error", f.cause)
	default:
		log.WarnContext(ctx, "a parked record failed again", "error", f.cause)
	}
}

// sleepUntilDue finds out when the next parked record may be tried, by the database's clock.
func (p *partition) sleepUntilDue(ctx context.Context) error {
	var inMS sql.NullInt64
	err := p.DB.QueryRowContext(ctx, `SELECT min(retry_at) - `+p.DB.Dialect.NowMS()+` FROM parked
		WHERE consumer_group = $1 AND topic = $2 AND partition = $3`, p.Group, p.topic, p.id).Scan(&inMS)
	if err != nil {
		return fmt.Errorf("ask for parked records: %w", err)
	}
	p.due = time.Time{}
	if inMS.Valid {
		p.expect(max(time.Duration(inMS.Int64)*time.Millisecond, 10*time.Millisecond))
	}
	return nil
}
