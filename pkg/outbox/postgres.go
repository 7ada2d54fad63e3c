package outbox

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

// Advisory locks of this package: the class, and the objects that are no shard.
const (
	lockClass   = 0x666c6f6f
	lockMember  = 1000 // shared by every relay, so that each can count the others
	lockSweeper = 1001
)

// claimEvery is how often a relay compares its shards with its share.
const claimEvery = 500 * time.Millisecond

// postgres reads by snapshot difference. A transaction takes its ids long before it commits, so "greater than the last
// id" would skip the slow ones; instead each window is what became visible between two snapshots, in id order. Of two
// events of one key the later was appended after the earlier was committed (the writer holds the key's row), so it is in
// a later window or has the higher id.
//
// Everything happens on one connection. It holds the shards' locks, so when it is lost they are, and no cursor can be
// moved by someone who merely believes that he owns it.
type postgres struct {
	relay    *Relay
	conn     *sql.Conn
	pid      int
	cluster  int64
	owned    map[int16]*cursor
	seen     string // the snapshot of the last look
	claimed  time.Time
	measured time.Time
}

// cursor is a shard's position here, which may be ahead of the stored one by empty windows.
type cursor struct {
	at, stored position
	cluster    int64
}

func openPostgres(ctx context.Context, r *Relay) (*postgres, error) {
	conn, err := r.DB.Conn(ctx)
	if err != nil {
		return nil, err
	}
	p := &postgres{relay: r, conn: conn, owned: map[int16]*cursor{}}
	if err := p.join(ctx); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// join sets the connection up and counts this relay among the others.
//
// A stopped process answers keepalives and would keep its shards: idle_session_timeout ends its session, for a relay is
// never idle. A cursor that a crash of the server takes back costs a second send and nothing else, so its commits need
// not wait for the disk. A planner with old statistics would collect and sort the whole backlog for each page: it may not.
func (p *postgres) join(ctx context.Context) error {
	err := p.conn.QueryRowContext(ctx, `SELECT pg_backend_pid() FROM (SELECT set_config('idle_session_timeout', '8s', false),
		set_config('synchronous_commit', 'off', false), set_config('enable_seqscan', 'off', false),
		set_config('enable_bitmapscan', 'off', false), set_config('enable_sort', 'off', false),
		set_config('plan_cache_mode', 'force_generic_plan', false)) s`).Scan(&p.pid)
	if err != nil {
		return fmt.Errorf("set up the relay's connection: %w", err)
	}
	err = p.conn.QueryRowContext(ctx, `SELECT system_identifier FROM pg_control_system()`).Scan(&p.cluster)
	var refused *pgconn.PgError
	if err != nil && !errors.As(err, &refused) { // who may not ask still has the other signs of a restore
		return err
	}
	_, err = p.conn.ExecContext(ctx, `SELECT pg_advisory_lock_shared($1, $2)`, lockClass, lockMember)
	return err
}

// close ends the connection instead of giving it back to the pool: the locks end with it, whatever state it is in.
func (p *postgres) close() {
	_ = p.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = p.conn.Close()
}

func (p *postgres) alive(ctx context.Context) error {
	_, err := p.conn.ExecContext(ctx, "SELECT 1")
	return err
}

func (p *postgres) tend(ctx context.Context) error {
	if time.Since(p.claimed) >= claimEvery {
		if err := p.claim(ctx); err != nil {
			return fmt.Errorf("claim shards: %w", err)
		}
		p.claimed = time.Now()
	}
	if time.Since(p.measured) >= measureEvery {
		if err := p.keep(ctx); err != nil {
			return err
		}
		p.measured = time.Now()
	}
	return nil
}

// keep stores what empty windows moved, looks for signs of a restore and measures.
func (p *postgres) keep(ctx context.Context) error {
	if err := p.flush(ctx); err != nil {
		return fmt.Errorf("store cursors: %w", err)
	}
	if err := p.checkRows(ctx, p.shards()); err != nil {
		return err
	}
	if err := p.measure(ctx); err != nil { // events flow without numbers too; a lost connection shows at the next look
		p.relay.Log.WarnContext(ctx, "the outbox could not be measured", "error", err)
	}
	return nil
}

// shards are those owned, sorted.
func (p *postgres) shards() []int16 { return slices.Sorted(maps.Keys(p.owned)) }

// claim takes free shards up to this relay's share, or gives up those beyond it.
func (p *postgres) claim(ctx context.Context) error {
	share, err := p.share(ctx)
	if err != nil {
		return err
	}
	for _, s := range p.shards()[min(share, len(p.owned)):] {
		if _, err := p.conn.ExecContext(ctx, `SELECT pg_advisory_unlock($1, $2)`, lockClass, s); err != nil {
			return err
		}
		delete(p.owned, s)
		delete(p.relay.trouble, s)
	}
	var taken []int16
	for _, i := range rand.Perm(Shards) {
		s := int16(i) // below Shards
		if len(p.owned)+len(taken) >= share {
			break
		}
		if p.owned[s] != nil {
			continue
		}
		var got bool
		if err := p.conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1, $2)`, lockClass, s).Scan(&got); err != nil {
			return err
		}
		if got {
			taken = append(taken, s)
		}
	}
	return p.take(ctx, taken)
}

// share is how many shards this relay may own so that all relays own the same number but for one.
func (p *postgres) share(ctx context.Context) (int, error) {
	rows, err := p.conn.QueryContext(ctx, `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
		AND classid = $1 AND objid = $2 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
		lockClass, lockMember)
	members, err := database.Collect(rows, err, func(rows *sql.Rows) (pid int, err error) {
		err = rows.Scan(&pid)
		return pid, err
	})
	if err != nil {
		return 0, err
	}
	slices.Sort(members)
	rank, found := slices.BinarySearch(members, p.pid)
	if !found {
		return 0, errors.New("the relay's own lock is gone")
	}
	share := Shards / len(members)
	if rank < Shards%len(members) {
		share++
	}
	return share, nil
}

// take reads the cursors of shards whose locks were just got; not earlier, for until then they moved.
func (p *postgres) take(ctx context.Context, shards []int16) error {
	if len(shards) == 0 {
		return nil
	}
	rows, err := p.conn.QueryContext(ctx, `SELECT shard, done::text, coalesce(until::text, ''), after, high, cluster
		FROM outbox_cursors WHERE shard = ANY($1)`, shards)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // its error is in rows.Err
	var foreign []int16
	for rows.Next() {
		var s int16
		var c cursor
		if err := rows.Scan(&s, &c.at.done, &c.at.until, &c.at.after, &c.at.high, &c.cluster); err != nil {
			return err
		}
		c.stored = c.at
		p.owned[s] = &c
		if c.cluster != 0 && p.cluster != 0 && c.cluster != p.cluster {
			foreign = append(foreign, s)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if err := p.rebase(ctx, foreign, "they were written on another server"); err != nil {
		return err
	}
	p.seen = ""
	return p.checkRows(ctx, shards)
}

func (p *postgres) look(ctx context.Context) ([]lane, error) {
	var now string
	if err := p.conn.QueryRowContext(ctx, `SELECT pg_current_snapshot()::text`).Scan(&now); err != nil {
		return nil, err
	}
	// The same snapshot shows the same rows: a look when nothing happened costs one small question.
	if now != p.seen {
		if err := p.checkCursors(ctx, now); err != nil {
			return nil, err
		}
		for _, l := range p.lanes(func(at position) bool { return at.until == "" && at.done != now }) {
			if err := p.window(ctx, l, now); err != nil {
				return nil, err
			}
		}
		p.seen = now
	}
	return p.lanes(func(at position) bool { return at.until != "" }), nil
}

// lanes groups the owned shards whose position is wanted by that position.
func (p *postgres) lanes(wanted func(position) bool) []lane {
	var lanes []lane
	for _, s := range p.shards() {
		at := p.owned[s].at
		if !wanted(at) {
			continue
		}
		i := slices.IndexFunc(lanes, func(l lane) bool { return l.at == at })
		if i < 0 {
			i, lanes = len(lanes), append(lanes, lane{at: at})
		}
		lanes[i].shards = append(lanes[i].shards, s)
	}
	return lanes
}

// window opens the window from l's position to the snapshot now; an empty one is closed at once.
//
// The ids are found by transaction: ids alone say nothing about when a row became visible. (id + 0, lest the planner
// answers min and max by walking all ids.)
func (p *postgres) window(ctx context.Context, l lane, now string) error {
	next := position{done: l.at.done, until: now}
	err := p.conn.QueryRowContext(ctx, `
		SELECT coalesce(min(id + 0), 0) - 1, coalesce(max(id + 0), 0) FROM (
			SELECT id FROM outbox WHERE shard = ANY($1) AND xid >= pg_snapshot_xmax($2::pg_snapshot)
				AND xid < pg_snapshot_xmax($3::pg_snapshot) AND pg_visible_in_snapshot(xid, $3::pg_snapshot)
			UNION ALL
			SELECT id FROM outbox WHERE shard = ANY($1) AND xid = ANY(ARRAY(SELECT pg_snapshot_xip($2::pg_snapshot)))
				AND pg_visible_in_snapshot(xid, $3::pg_snapshot)) new`,
		l.shards, l.at.done, now).Scan(&next.after, &next.high)
	if err != nil {
		return fmt.Errorf("open a window of the outbox: %w", err)
	}
	if next.high == 0 {
		next = position{done: now}
	}
	p.move(l.shards, next)
	return nil
}

func (p *postgres) move(shards []int16, to position) {
	for _, s := range shards {
		p.owned[s].at = to
	}
}

// read walks the ids from the page's beginning: with shard + 0 no other index serves, and join has forbidden sorting.
func (p *postgres) read(ctx context.Context, l lane, limit int) ([]row, error) {
	rows, err := p.conn.QueryContext(ctx, pageOf(`shard + 0 = ANY($3::int[]) AND id > $4 AND id <= $5
		AND pg_visible_in_snapshot(xid, $6::pg_snapshot) AND NOT pg_visible_in_snapshot(xid, $7::pg_snapshot)`),
		limit, maxPageBytes, l.shards, l.at.after, l.at.high, l.at.until, l.at.done)
	page, err := database.Collect(rows, err, scan)
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	return page, nil
}

func (p *postgres) advance(ctx context.Context, l lane, page []row) error {
	next, last := position{done: l.at.until}, int64(0)
	if len(page) > 0 {
		last = page[len(page)-1].id
		if last < l.at.high {
			next = l.at
			next.after = last
		}
	}
	return p.store(ctx, l.shards, next, last)
}

// store moves the cursors of shards. sent is the greatest id that was sent by this move.
func (p *postgres) store(ctx context.Context, shards []int16, to position, sent int64) error {
	res, err := p.conn.ExecContext(ctx, `UPDATE outbox_cursors SET done = $2::pg_snapshot, until = nullif($3, '')::pg_snapshot,
		after = $4, high = $5, sent = greatest(sent, $6), cluster = $7 WHERE shard = ANY($1)`,
		shards, to.done, to.until, to.after, to.high, sent, p.cluster)
	if err != nil {
		return fmt.Errorf("move the outbox cursor: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n != int64(len(shards)) {
		return fmt.Errorf("move the outbox cursor: %d of %d shards have one (%w)", n, len(shards), err)
	}
	p.move(shards, to)
	for _, s := range shards {
		p.owned[s].stored = to
	}
	return nil
}

// flush stores the positions that empty windows moved, so that nobody has to look through them again and deleting old
// rows is not held up by a quiet shard.
func (p *postgres) flush(ctx context.Context) error {
	for _, l := range p.lanes(func(at position) bool { return at.until == "" }) {
		l.shards = slices.DeleteFunc(l.shards, func(s int16) bool { return p.owned[s].stored == l.at })
		if len(l.shards) == 0 {
			continue
		}
		if err := p.store(ctx, l.shards, l.at, 0); err != nil {
			return err
		}
	}
	return nil
}

// sampled bounds how many waiting rows of a shard are counted one by one.
const sampled = 1000

// measure counts what waits in the owned shards: exactly while it is little, by the distance of ids when it is much.
func (p *postgres) measure(ctx context.Context) error {
	var b backlog
	err := p.conn.QueryRowContext(ctx, `
		SELECT coalesce(sum(CASE WHEN n < $2 THEN n ELSE greatest(n, (m.id - first) / $3) END), 0)::bigint,
			coalesce(`+database.Postgres.NowMS()+` - min(oldest), 0)
		FROM (SELECT coalesce(max(id), 0) AS id FROM outbox) m, outbox_cursors c,
			LATERAL (SELECT count(*) AS n, min(id) AS first, min(created_at) AS oldest FROM (
				SELECT o.id, o.created_at FROM outbox o WHERE o.shard = c.shard AND `+waiting+` LIMIT $2) sample) w
		WHERE c.shard = ANY($1)`, p.shards(), sampled, Shards).Scan(&b.rows, &b.ageMS)
	if err == nil {
		p.relay.meters.measured(ctx, b)
	}
	return err
}

// waiting is the condition that the row o was not sent, as far as the stored cursor c of its shard knows.
const waiting = `o.xid >= pg_snapshot_xmin(c.done) AND NOT ` + sent

const sent = `(pg_visible_in_snapshot(o.xid, c.done)
	OR (c.until IS NOT NULL AND o.id <= c.after AND pg_visible_in_snapshot(o.xid, c.until)))`

// Unsent is how many committed events are not known to be acknowledged. It is exact, and takes time with their number.
func Unsent(ctx context.Context, db *database.DB) (n int64, err error) {
	query := `SELECT count(*) FROM outbox_cursors c JOIN outbox o ON o.shard = c.shard WHERE ` + waiting
	if db.Dialect == database.SQLite {
		query = `SELECT count(*) FROM outbox WHERE id > (SELECT sent FROM outbox_cursors)`
	}
	if err = db.QueryRowContext(ctx, query).Scan(&n); err != nil {
		return 0, fmt.Errorf("count unsent events: %w", err)
	}
	return n, nil
}

// checkCursors rebases the shards whose cursor knows transactions that this server has not begun.
func (p *postgres) checkCursors(ctx context.Context, now string) error {
	end, err := xmax(now)
	if err != nil {
		return err
	}
	var ahead []int16
	for s, c := range p.owned {
		for _, snapshot := range []string{c.at.done, cmp.Or(c.at.until, c.at.done)} {
			known, err := xmax(snapshot)
			if err != nil {
				return err
			}
			if known > end && !slices.Contains(ahead, s) {
				ahead = append(ahead, s)
			}
		}
	}
	return p.rebase(ctx, ahead, "their cursor knows transactions that the server has not begun")
}

// checkRows rebases those of shards that have a row of a transaction that this server has not begun.
func (p *postgres) checkRows(ctx context.Context, shards []int16) error {
	rows, err := p.conn.QueryContext(ctx, `SELECT s FROM unnest($1::smallint[]) s WHERE EXISTS (
		SELECT 1 FROM outbox WHERE shard = s AND xid >= pg_snapshot_xmax(pg_current_snapshot()))`, shards)
	ahead, err := database.Collect(rows, err, func(rows *sql.Rows) (s int16, err error) {
		err = rows.Scan(&s)
		return s, err
	})
	if err != nil {
		return fmt.Errorf("look for rows of another server: %w", err)
	}
	return p.rebase(ctx, ahead, "they have rows of transactions that the server has not begun")
}
