package kafka

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

// errMoved says that another owner of the partition moved the offset. errJumped says that this one did, out of order.
var (
	errMoved  = errors.New("another member moved the offset")
	errJumped = errors.New("the offset was set to where the log begins")
)

// row is what the database keeps of a partition. next − first = applied + parked + dead.
type row struct {
	first, next           int64
	applied, parked, dead int64
}

// counts is what a transaction adds to a row.
type counts struct{ applied, parked, dead int64 }

// moveTx takes the partition's row for this transaction and moves next past n records, if it still stands where this
// owner left it. Offsets that no record has (a transaction's markers) move first along.
func (p *partition) moveTx(ctx context.Context, tx *database.Tx, to, n int64) error {
	res, err := tx.ExecContext(ctx, `UPDATE consumer_offsets SET next = $1, first = first + $1 - next - $2
		WHERE consumer_group = $3 AND topic = $4 AND partition = $5 AND next = $6`,
		to, n, p.Group, p.topic, p.id, p.offsets.next)
	if err != nil {
		return fmt.Errorf("move the offset: %w", err)
	}
	if moved, err := res.RowsAffected(); err != nil || moved != 1 {
		return errors.Join(errMoved, err)
	}
	return nil
}

// countTx adds what became of records and answers the row as it then is.
func (p *partition) countTx(ctx context.Context, tx *database.Tx, add counts) (row, error) {
	var r row
	err := tx.QueryRowContext(ctx, `UPDATE consumer_offsets SET applied = applied + $1, parked = parked + $2, dead = dead + $3
		WHERE consumer_group = $4 AND topic = $5 AND partition = $6 RETURNING first, next, applied, parked, dead`,
		add.applied, add.parked, add.dead, p.Group, p.topic, p.id).Scan(&r.first, &r.next, &r.applied, &r.parked, &r.dead)
	if err != nil {
		return row{}, fmt.Errorf("count records: %w", err)
	}
	return r, nil
}

// take reads where the group stands, beginning at the log's first record where it never was, and looks at the log.
//
// It looks again once it knows the offset: what a former owner applied meanwhile may lie beyond the end seen before, and
// would pass for a topic made anew.
func (p *partition) take(ctx context.Context) error {
	log, err := p.bounds(ctx)
	if err != nil {
		return err
	}
	err = p.DB.Tx(ctx, func(tx *database.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO consumer_offsets (consumer_group, topic, partition, first, next)
			VALUES ($1, $2, $3, $4, $4) ON CONFLICT DO NOTHING`, p.Group, p.topic, p.id, log.FirstOffset)
		if err != nil {
			return err
		}
		p.offsets, err = p.countTx(ctx, tx, counts{})
		return err
	})
	if err != nil {
		return err
	}
	p.meters.stands(p)
	p.due = time.Time{}
	if p.offsets.parked > 0 {
		p.due = time.Now()
	}
	if err := p.watch(ctx); err != nil && !errors.Is(err, errJumped) {
		return err
	}
	return nil
}

// watch compares the offset with the log's ends and measures the lag.
func (p *partition) watch(ctx context.Context) error {
	log, err := p.bounds(ctx)
	if err != nil {
		return err
	}
	return p.compare(ctx, log)
}

func (p *partition) compare(ctx context.Context, log kafka.PartitionOffsets) error {
	next := p.offsets.next
	switch {
	case next > log.LastOffset:
		p.meters.alarm(ctx, p, topicMadeAnew)
		p.log.ErrorContext(ctx, "the log ends before the group's offset: the topic was made anew; reading it from its first record",
			"next", next, "first", log.FirstOffset, "end", log.LastOffset)
		return p.jump(ctx, log.FirstOffset)
	case next < log.FirstOffset:
		p.meters.alarm(ctx, p, retentionOverran)
		p.log.ErrorContext(ctx, "records were deleted before the group read them; going on with the first that is left",
			"next", next, "first", log.FirstOffset, "lost", log.FirstOffset-next)
		return p.jump(ctx, log.FirstOffset)
	}
	p.meters.lag(p, log.LastOffset-next)
	return nil
}

// jump sets the offset without counting records.
func (p *partition) jump(ctx context.Context, to int64) error {
	err := p.DB.Tx(ctx, func(tx *database.Tx) error {
		if err := p.moveTx(ctx, tx, to, 0); err != nil {
			return err
		}
		var err error
		p.offsets, err = p.countTx(ctx, tx, counts{})
		return err
	})
	if err != nil {
		return err
	}
	return errJumped
}

// bounds asks the broker where the partition's log begins and ends.
func (p *partition) bounds(ctx context.Context) (kafka.PartitionOffsets, error) {
	topic := p.Kafka.TopicPrefix + p.topic
	answer, err := p.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {kafka.FirstOffsetOf(p.id), kafka.LastOffsetOf(p.id)}},
	})
	if err != nil {
		return kafka.PartitionOffsets{}, fmt.Errorf("ask for the log's ends: %w", err)
	}
	for _, o := range answer.Topics[topic] {
		if o.Partition == p.id {
			return o, o.Error
		}
	}
	return kafka.PartitionOffsets{}, errors.New("the broker does not know the partition")
}

// databaseNow is the database's clock in unix milliseconds.
func databaseNow(ctx context.Context, tx *database.Tx) (now int64, err error) {
	err = tx.QueryRowContext(ctx, "SELECT "+tx.Dialect.NowMS()).Scan(&now)
	return now, err
}

// OffsetRow is where a group stands in a partition. Next − First = Applied + Parked + Dead.
type OffsetRow struct {
	Group, Topic          string
	Partition             int
	First, Next           int64
	Applied, Parked, Dead int64
}

// Offsets lists where the groups of a database stand.
func Offsets(ctx context.Context, db *database.DB) ([]OffsetRow, error) {
	rows, err := db.QueryContext(ctx, `SELECT consumer_group, topic, partition, first, next, applied, parked, dead
		FROM consumer_offsets ORDER BY consumer_group, topic, partition`)
	return database.Collect(rows, err, func(rows *sql.Rows) (r OffsetRow, err error) {
		err = rows.Scan(&r.Group, &r.Topic, &r.Partition, &r.First, &r.Next, &r.Applied, &r.Parked, &r.Dead)
		return r, err
	})
}

// SetOffset lets a group go on from next. Handlers commute, so going back is safe; going forward skips records. A
// running member notices with its next batch.
func SetOffset(ctx context.Context, db *database.DB, group, topic string, partition int, next int64) error {
	if next < 0 {
		return fmt.Errorf("offset %d: an offset is 0 or more", next)
	}
	return db.Tx(ctx, func(tx *database.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE consumer_offsets SET first = first + $1 - next, next = $1
			WHERE consumer_group = $2 AND topic = $3 AND partition = $4`, next, group, topic, partition)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return errors.Join(fmt.Errorf("group %s has no offset in %s/%d: see `offsets show`", group, topic, partition), err)
		}
		return nil
	})
}
