package kafka

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

// crowded fills the tables of consumers with more partitions than anybody has, and a hundred parked records in each of a thousand.
const crowded = `
	INSERT INTO consumer_offsets SELECT 'g-' || n % 10, 't-' || n / 1000, n / 10 % 100, 0, 100, 0, 100, 0 FROM generate_series(0, 99999) n;
	INSERT INTO parked SELECT 'g-1', 't-' || n / 10000, n / 100 % 100, n % 100, '', '', '', 0, 1, 0, 0, n, 'x', 'x' FROM generate_series(0, 99999) n`

// TestPlansOfManyPartitions learns how Postgres runs what a consumer does with each batch.
func TestPlansOfManyPartitions(t *testing.T) {
	t.Parallel()
	p := servertest.NewPlans(t, "consumers")
	p.Fill([]database.Migrations{Migrations, outbox.Migrations}, crowded)
	p.Watch()
	c := NewConsumer(ConsumerConfig{Group: "g-1", DB: p.DB, Kafka: Defaults()})
	own := c.partition("t-1", 7, nil, nil)
	own.offsets = row{next: 100}
	const here = "pkg/kafka/"
	inTx := func(do func(ctx context.Context, tx *database.Tx) error) func(context.Context) error {
		return func(ctx context.Context) error {
			return p.DB.Tx(ctx, func(tx *database.Tx) error { return do(ctx, tx) })
		}
	}
	p.Path("move an offset and count", here+"offsets.go", inTx(func(ctx context.Context, tx *database.Tx) error {
		_, err := own.countTx(ctx, tx, counts{applied: 10})
		return errors.Join(err, own.moveTx(ctx, tx, 110, 10))
	}), "using consumer_offsets_pkey")
	failed := failure{Record: Record{Topic: "t-1", Partition: 7, Offset: 105}, attempts: 1, lastMS: time.Now().UnixMilli(), cause: sql.ErrTxDone}
	p.Path("park a record", here+"park.go", inTx(func(ctx context.Context, tx *database.Tx) error {
		return own.parkTx(ctx, tx, failed)
	}), "Insert on parked")
	p.Path("take a parked record that is due", here+"park.go", inTx(func(ctx context.Context, tx *database.Tx) error {
		due, err := own.dueTx(ctx, tx, time.Now().UnixMilli())
		if err != nil {
			return err
		}
		due.cause, due.attempts = sql.ErrTxDone, 2
		_, _, timed := own.concludeTx(ctx, tx, due)
		due.cause = nil
		_, _, unparked := own.concludeTx(ctx, tx, due)
		return errors.Join(timed, unparked)
	}), "using parked_pkey", "Delete on parked", "Update on parked")
	p.Path("learn when the next is due", here+"park.go", own.sleepUntilDue, "using parked_pkey")
	p.Check()
}
