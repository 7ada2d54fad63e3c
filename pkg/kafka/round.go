package kafka

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

// roundRecords bounds the records of one round. What a transaction costs is a small part of so many.
const roundRecords = 2000

// aloneFor is how many polls a partition that has a bad record applies alone, so that its neighbours' rounds do not fail
// for it one after the other.
const aloneFor = 20

// errAlone says that a round of several partitions failed: each applies its records in a transaction of its own, and so
// finds out whose fault it was.
var errAlone = errors.New("a round of several partitions failed")

// share is what one partition's poll brings to a round.
type share struct {
	*partition
	records []Record

	// guarded by rounds.turn
	over  bool
	err   error
	after row // where the partition stands once the round stands
}

// rounds let the partitions of a member share transactions: a commit costs the same for all as for one. There is no
// timer. Who finds nobody at work begins at once; what comes meanwhile waits, and the next takes all of it along. So a
// lone record waits for nothing, and the busier the member is, the fewer transactions a record costs.
type rounds struct {
	turn   sync.Mutex   // held by who works for all
	coming atomic.Int32 // partitions that a fetch has just served; the first of them waits a moment for the others

	mu      sync.Mutex // guards waiting
	waiting []*share
}

// join brings s to a round and returns when that is over.
func (r *rounds) join(s *share, work func([]*share)) {
	r.mu.Lock()
	r.waiting = append(r.waiting, s)
	r.mu.Unlock()
	r.coming.Add(-1)
	r.turn.Lock()
	defer r.turn.Unlock()
	if s.over {
		return // somebody took it along
	}
	for range 20 { // 2 ms at most: one of them may have something else to do
		if r.coming.Load() <= 0 {
			break
		}
		<-time.After(100 * time.Microsecond)
	}
	work(r.with(s))
}

// with takes s, and of the others that wait as many as fit, first come first served.
func (r *rounds) with(s *share) []*share {
	r.mu.Lock()
	defer r.mu.Unlock()
	all, n := []*share{s}, len(s.records)
	r.waiting = slices.DeleteFunc(r.waiting, func(other *share) bool {
		if other != s && n+len(other.records) > roundRecords {
			return false
		}
		if other != s {
			all, n = append(all, other), n+len(other.records)
		}
		return true
	})
	return all
}

// together applies records in a round with whatever other partitions have in hand.
func (p *partition) together(ctx context.Context, records []Record) error {
	s := &share{partition: p, records: records}
	p.rounds.join(s, func(all []*share) {
		err := p.settleAll(ctx, all)
		if err != nil && len(all) > 1 && (errors.Is(err, errMoved) || !blameless(ctx, err)) {
			err = errAlone
		}
		for _, s := range all {
			s.over, s.err = true, err
		}
	})
	if s.err == nil {
		p.settled(s.after)
	}
	return s.err
}

// settled notes where a transaction that stands left the partition.
func (p *partition) settled(after row) {
	p.offsets = after
	p.meters.stands(p)
	p.progress.set(p.Kafka.TopicPrefix+p.topic, p.id, after.next)
}

// settleAll applies the records of all shares and moves their offsets, in one transaction. A member that lost one of its
// partitions finds that one's offset moved, and nothing of the round stands.
func (c *Consumer) settleAll(ctx context.Context, all []*share) error {
	records := all[0].records
	if len(all) > 1 {
		records = nil
		for _, s := range all {
			records = append(records, s.records...)
		}
	}
	began := time.Now()
	ctx, spans := c.trace(ctx, all...)
	var after map[place]row
	err := c.DB.SteadyTx(ctx, func(tx *database.Tx) (err error) {
		if after, err = c.moveAllTx(ctx, tx, all); err != nil {
			return err
		}
		_, err = call(ctx, c.Handle, tx, records)
		return err
	})
	spans.end(err)
	for _, s := range all {
		s.meters.worked(ctx, s.partition, time.Since(began), err)
	}
	if err != nil {
		return err
	}
	for _, s := range all {
		s.after = after[place{s.topic, s.id}]
	}
	c.AfterCommit()
	return nil
}

// moveAllTx is moveTx and countTx for all shares: their rows are locked in order, every one must stand where its owner
// left it, and all records count as applied.
func (c *Consumer) moveAllTx(ctx context.Context, tx *database.Tx, all []*share) (map[place]row, error) {
	topics, partitions := make([]string, len(all)), make([]int64, len(all))
	was, to, n := make([]int64, len(all)), make([]int64, len(all)), make([]int64, len(all))
	for i, s := range all {
		topics[i], partitions[i], was[i] = s.topic, int64(s.id), s.offsets.next
		to[i], n[i] = s.records[len(s.records)-1].Offset+1, int64(len(s.records))
	}
	v := database.NewValues(database.Col("of", "text", topics), database.Col("id", "bigint", partitions),
		database.Col("was", "bigint", was), database.Col("upto", "bigint", to), database.Col("n", "bigint", n))
	rows, err := tx.QueryValues(ctx, v, `, mine AS (
			SELECT o.topic AS locked_topic, o.partition AS locked_partition FROM consumer_offsets o JOIN v ON o.topic = v.of AND o.partition = v.id
			WHERE o.consumer_group = $1 ORDER BY o.topic, o.partition`+lockOf(tx)+`)
		UPDATE consumer_offsets SET next = v.upto, first = first + v.upto - next - v.n, applied = applied + v.n
		FROM v JOIN mine ON locked_topic = v.of AND locked_partition = v.id
		WHERE consumer_group = $1 AND topic = v.of AND partition = v.id AND next = v.was
		RETURNING topic, partition, first, next, applied, parked, dead`, c.Group)
	after := make(map[place]row, len(all))
	_, err = database.Collect(rows, err, func(rows *sql.Rows) (r row, err error) {
		var at place
		err = rows.Scan(&at.topic, &at.partition, &r.first, &r.next, &r.applied, &r.parked, &r.dead)
		after[at] = r
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("move %d offsets: %w", len(all), err)
	}
	if len(after) != len(all) {
		return nil, errMoved
	}
	return after, nil
}

// lockOf locks the rows of o alone.
func lockOf(tx *database.Tx) string {
	if lock := tx.Dialect.ForUpdate(); lock != "" {
		return lock + " OF o"
	}
	return ""
}
