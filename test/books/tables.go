package books

import (
	"context"
	"database/sql"
	"fmt"
)

// The tables below belong to the shared rooms pkg/outbox and pkg/kafka; every service has them.

// pending is what a service has still to send and to try again, and the newest event it ever wrote.
func pending(ctx context.Context, tx *sql.Tx, sqlite bool) (unsent, parked, newest int64, err error) {
	query := `SELECT count(*) FROM outbox o JOIN outbox_cursors c ON c.shard = o.shard WHERE NOT pg_visible_in_snapshot(o.xid, c.done)`
	if sqlite {
		query = `SELECT count(*) FROM outbox WHERE id > (SELECT max(sent) FROM outbox_cursors)`
	}
	for _, ask := range []struct {
		query string
		into  *int64
	}{
		{query, &unsent},
		{`SELECT count(*) FROM parked`, &parked},
		{`SELECT coalesce(max(id), 0) FROM outbox`, &newest},
	} {
		if err := tx.QueryRowContext(ctx, ask.query).Scan(ask.into); err != nil {
			return 0, 0, 0, fmt.Errorf("%w in %s", err, ask.query)
		}
	}
	return unsent, parked, newest, nil
}

// offsets reads where a group stands, by topic/partition.
func (t *tally) offsets(ctx context.Context, tx *sql.Tx, group string) error {
	var g, topic string
	var partition int
	var next int64
	return rows(ctx, tx, `SELECT consumer_group, topic, partition, next FROM consumer_offsets`,
		[]any{&g, &topic, &partition, &next}, func() {
			if g == group {
				t.add(fmt.Sprint(topic, "/", partition), next)
			}
		})
}

// settlement is what became of the records that each group has read.
type settlement struct {
	passed, settled tally // per group and partition
	dead            tally // per group
}

func (s *settlement) read(ctx context.Context, tx *sql.Tx) error {
	var group, topic string
	var partition int
	var first, next, applied, parked, dead int64
	return rows(ctx, tx, `SELECT consumer_group, topic, partition, first, next, applied, parked, dead FROM consumer_offsets`,
		[]any{&group, &topic, &partition, &first, &next, &applied, &parked, &dead}, func() {
			key := fmt.Sprint(group, " ", topic, "/", partition)
			s.passed.add(key, next-first)
			s.settled.add(key, applied+parked+dead)
			s.dead.add(group, dead)
		})
}

// letters is what dlq-replayer has collected: deaths per group, those alone that the group's own dead letters told.
type letters struct{ deaths tally }

func (l *letters) read(ctx context.Context, tx *sql.Tx) error {
	var group string
	var deaths int64
	return rows(ctx, tx, `SELECT l.consumer_group, count(*) FROM letters l JOIN failures f ON f.letter = l.id WHERE f.via = '' GROUP BY l.consumer_group`,
		[]any{&group, &deaths}, func() { l.deaths.add(group, deaths) })
}
