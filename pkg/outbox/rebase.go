package outbox

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// xmax is the first transaction that the snapshot "xmin:xmax:…" knows nothing of.
func xmax(snapshot string) (uint64, error) {
	parts := strings.SplitN(snapshot, ":", 3)
	if len(parts) != 3 {
		return 0, fmt.Errorf("%q is no snapshot", snapshot)
	}
	return strconv.ParseUint(parts[1], 10, 64)
}

// rebase makes shards readable after their database was restored on another server, where transaction numbers begin
// anew: old cursors and rows would be compared with numbers that mean something else, and events be skipped.
//
// Rows that cannot be proven sent get the number of the rebasing transaction, so that the next window has them in id
// order. Proven is what the old cursor covers with an id that was sent before. New rows may carry numbers that the old
// cursor seems to cover, but they have greater ids; and if the ids began anew as well, then the tuple of a new row was
// written by the very transaction that the row names, while a restored one was written by the restore.
func (p *postgres) rebase(ctx context.Context, shards []int16, why string) error {
	if len(shards) == 0 {
		return nil
	}
	// The snapshot comes before the transaction that rewrites rows has its number, so that it does not cover them.
	var base string
	var last int64
	err := p.conn.QueryRowContext(ctx, `SELECT pg_current_snapshot()::text,
		coalesce(pg_sequence_last_value(pg_get_serial_sequence('outbox', 'id')::regclass), 0)`).Scan(&base, &last)
	if err != nil {
		return fmt.Errorf("rebase the outbox: %w", err)
	}
	again, err := p.rewrite(ctx, shards, base, last)
	if err != nil {
		return fmt.Errorf("rebase the outbox: %w", err)
	}
	for _, s := range shards {
		at := position{done: base}
		p.owned[s] = &cursor{at: at, stored: at, cluster: p.cluster}
	}
	p.seen = ""
	p.relay.meters.rebases.Add(ctx, int64(len(shards)))
	p.relay.Log.WarnContext(ctx, "outbox shards were rebased: the database seems restored from another server",
		"why", why, "shards", shards, "events_sent_again", again)
	return nil
}

func (p *postgres) rewrite(ctx context.Context, shards []int16, base string, last int64) (again int64, err error) {
	tx, err := p.conn.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	if _, err := tx.ExecContext(ctx, `SET LOCAL statement_timeout = 0`); err != nil {
		return 0, err
	}
	const (
		native = `o.xmin::text = (o.xid::text::numeric % 4294967296)::text`
		future = `greatest(pg_snapshot_xmax(c.done), pg_snapshot_xmax(c.until)) > pg_snapshot_xmax($3::pg_snapshot)`
		proven = `(c.sent <= $2 AND o.id <= c.sent AND ` + sent + ` AND NOT (` + future + ` AND ` + native + `))`
	)
	res, err := tx.ExecContext(ctx, `UPDATE outbox o SET xid = pg_current_xact_id() FROM outbox_cursors c
		WHERE c.shard = o.shard AND o.shard = ANY($1) AND NOT `+proven, shards, last, base)
	if err != nil {
		return 0, err
	}
	if again, err = res.RowsAffected(); err != nil {
		return 0, err
	}
	// What is proven sent stays so, whatever number the server comes to.
	_, err = tx.ExecContext(ctx, `UPDATE outbox o SET xid = '0' FROM outbox_cursors c
		WHERE c.shard = o.shard AND o.shard = ANY($1) AND o.xid >= pg_snapshot_xmax($3::pg_snapshot)
			AND o.xid <> pg_current_xact_id() AND `+proven, shards, last, base)
	if err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE outbox_cursors SET done = $3::pg_snapshot, until = NULL, after = 0, high = 0,
		sent = CASE WHEN sent <= $2 THEN sent ELSE 0 END, cluster = $4 WHERE shard = ANY($1)`, shards, last, base, p.cluster)
	if err != nil {
		return 0, err
	}
	return again, tx.Commit()
}
