package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/letter"
)

// Cause is what letters of one group died of. Times are unix ms.
type Cause struct {
	ID       string
	Group    string
	Kind     string
	Message  string
	Dead     int64 // letters that are dead now
	LastHour int64 // deaths of the last sixty minutes
	FirstMS  int64
	LastMS   int64
	Newest   string // letter
	Note     string
	Muted    bool
}

// Causes are all that have dead letters, and with all also those that have none any more; the largest first.
func (s Store) Causes(ctx context.Context, all bool) ([]Cause, error) {
	rows, err := s.DB.QueryContext(ctx, `SELECT c.id, c.consumer_group, c.error_kind, c.message, c.dead, c.first_seen_at,
			c.last_seen_at, c.newest, c.note, c.muted,
			(SELECT coalesce(sum(m.deaths), 0) FROM cause_minutes m WHERE m.cause = c.id AND m.minute > (SELECT `+s.DB.Dialect.NowMS()+`) / 60000 - 60)
		FROM causes c WHERE c.dead > 0 OR $1 ORDER BY c.dead DESC, c.id LIMIT 1000`, all)
	causes, err := database.Collect(rows, err, func(rows *sql.Rows) (c Cause, err error) {
		err = rows.Scan(&c.ID, &c.Group, &c.Kind, &c.Message, &c.Dead, &c.FirstMS, &c.LastMS, &c.Newest, &c.Note, &c.Muted, &c.LastHour)
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("list causes: %w", err)
	}
	return causes, nil
}

// NoteCause keeps what somebody has to say of a cause, and whether it still needs anybody's eye.
func (s Store) NoteCause(ctx context.Context, id, note string, muted bool, who string) error {
	err := s.DB.Tx(ctx, func(tx *database.Tx) error {
		done, err := tx.ExecContext(ctx, `UPDATE causes SET note = $2, muted = $3 WHERE id = $1`, id, note, muted)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return errors.Join(ErrNotFound, err)
		}
		return auditTx(ctx, tx, Deed{who, "note", "cause " + id, note, map[string]bool{"muted": muted}})
	})
	if err != nil {
		return fmt.Errorf("note cause %s: %w", id, err)
	}
	return nil
}

// Query selects letters. Empty fields select all.
type Query struct {
	Cause  string       `json:"cause,omitempty"`
	Group  string       `json:"group,omitempty"`
	Topic  string       `json:"topic,omitempty"`
	Type   string       `json:"type,omitempty"`
	Kind   string       `json:"kind,omitempty"`
	Key    string       `json:"key,omitempty"`    // the record's key, as text
	Text   string       `json:"text,omitempty"`   // within the error, in any case
	After  int64        `json:"after,omitempty"`  // unix ms of the newest death, inclusive
	Before int64        `json:"before,omitempty"` // exclusive
	State  letter.State `json:"state,omitempty"`

	states []letter.State // any of these, where State is empty

	Limit  int    `json:"-"`
	Cursor string `json:"-"` // of the page before
}

// where is the condition of q for letters l, its parameters numbered after args.
func (q Query) where(d database.Dialect, args []any) (condition string, all []any) {
	parts := []string{"true"}
	and := func(condition string, value any) {
		args = append(args, value)
		parts = append(parts, strings.ReplaceAll(condition, "?", fmt.Sprintf("$%d", len(args))))
	}
	var met []string // the same of facets: what never met is not looked for among all letters
	for _, equal := range []struct {
		column, value string
		facet         bool
	}{
		{"cause", q.Cause, false},
		{"state", string(q.State), false},
		{"consumer_group", q.Group, true},
		{"topic", q.Topic, true},
		{"event_type", q.Type, true},
		{"error_kind", q.Kind, true},
	} {
		if equal.value != "" {
			and("l."+equal.column+" = ?", equal.value)
			if equal.facet {
				met = append(met, fmt.Sprintf("f.%s = $%d", equal.column, len(args)))
			}
		}
	}
	if len(met) > 1 {
		parts = append(parts, "EXISTS (SELECT 1 FROM facets f WHERE "+strings.Join(met, " AND ")+")")
	}
	if q.State == "" && len(q.states) > 0 {
		parts = append(parts, standsIn(q.states))
	}
	if q.Key != "" {
		and("substr(l.key, 1, 200) = ?", []byte(q.Key[:min(len(q.Key), 200)])) // as the index has it
		and("l.key = ?", []byte(q.Key))
	}
	if q.After > 0 {
		and("l.last_failed_at >= ?", q.After)
	}
	if q.Before > 0 {
		and("l.last_failed_at < ?", q.Before)
	}
	if q.Text != "" {
		pattern := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(q.Text) + "%"
		if d == database.Postgres {
			and(`l.error ILIKE ?`, pattern)
		} else {
			and(`l.error LIKE ? ESCAPE '\'`, pattern)
		}
	}
	return strings.Join(parts, " AND "), args
}

// ErrCursor says that a cursor is none that a page gave.
var ErrCursor = errors.New("the cursor is none that a page gave")

const columns = `l.seq, l.id, l.consumer_group, l.event_id, l.event_type, l.raw, l.topic, l.partition, l.record_offset, l.key,
	l.value, l.headers, l.omitted_bytes, l.state, l.deaths, l.cause, l.attempts, l.first_failed_at, l.last_failed_at,
	l.error_kind, l.error, l.collected_at, l.revision, l.rehearsed, l.key IS NULL, l.value IS NULL`

// Letters is a page of letters, the newest first, and the cursor of the next one, "" for none.
func (s Store) Letters(ctx context.Context, q Query) (page []letter.Letter, next string, err error) {
	where, args := q.where(s.DB.Dialect, nil)
	if q.Cursor != "" {
		before, err := cursor(q.Cursor)
		if err != nil {
			return nil, "", err
		}
		args = append(args, before)
		where += fmt.Sprintf(" AND l.seq < $%d", len(args))
	}
	args = append(args, q.Limit+1)
	rows, err := s.DB.QueryContext(ctx, fmt.Sprintf(`SELECT `+columns+` FROM letters l WHERE %s ORDER BY l.seq DESC LIMIT $%d`, where, len(args)), args...)
	found, err := database.Collect(rows, err, func(rows *sql.Rows) (numbered, error) { return scan(rows) })
	if err != nil {
		return nil, "", fmt.Errorf("list letters: %w", err)
	}
	if len(found) > q.Limit {
		found = found[:q.Limit]
		next = base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(found[q.Limit-1].seq, 10)))
	}
	for _, l := range found {
		page = append(page, l.Letter)
	}
	return page, next, nil
}

func cursor(text string) (int64, error) {
	plain, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return 0, ErrCursor
	}
	seq, err := strconv.ParseInt(string(plain), 10, 64)
	if err != nil || seq < 1 {
		return 0, ErrCursor
	}
	return seq, nil
}

type numbered struct {
	letter.Letter
	seq int64
}

// scan reads a row that begins with columns.
func scan(rows interface{ Scan(into ...any) error }) (l numbered, err error) {
	var headers []byte
	var nullKey, nullValue bool
	err = rows.Scan(&l.seq, &l.ID, &l.Group, &l.EventID, &l.Type, &l.Raw, &l.Topic, &l.Partition, &l.Offset, &l.Key, &l.Value,
		&headers, &l.Omitted, &l.State, &l.Deaths, &l.Cause, &l.Last.Attempts, &l.Last.FirstMS, &l.Last.LastMS, &l.Last.Kind,
		&l.Last.Error, &l.CollectedMS, &l.Revision, &l.Rehearsed, &nullKey, &nullValue)
	if err != nil {
		return l, err
	}
	l.Key, l.Value = whole(l.Key, nullKey), whole(l.Value, nullValue)
	l.Last.Topic, l.Last.Partition, l.Last.Offset = l.Topic, l.Partition, l.Offset
	all, err := outbox.DecodeHeaders(headers)
	for _, h := range all {
		l.Headers = append(l.Headers, letter.Header(h))
	}
	return l, err
}

// whole tells empty bytes from null: SQLite's driver answers nil for both.
func whole(b []byte, null bool) []byte {
	if b == nil && !null {
		return []byte{}
	}
	return b
}

// Letter is one letter with all its failures, the newest first; ErrNotFound if there is none.
func (s Store) Letter(ctx context.Context, id string) (letter.Letter, []letter.Failure, error) {
	rows, err := s.DB.QueryContext(ctx, `SELECT `+columns+` FROM letters l WHERE l.id = $1`, id)
	found, err := database.Collect(rows, err, func(rows *sql.Rows) (numbered, error) { return scan(rows) })
	if err != nil {
		return letter.Letter{}, nil, fmt.Errorf("read letter %s: %w", id, err)
	}
	if len(found) == 0 {
		return letter.Letter{}, nil, ErrNotFound
	}
	rows, err = s.DB.QueryContext(ctx, `SELECT topic, partition, record_offset, attempts, first_failed_at, last_failed_at, error_kind, error, via
		FROM failures WHERE letter = $1 ORDER BY last_failed_at DESC LIMIT 100`, id)
	failures, err := database.Collect(rows, err, func(rows *sql.Rows) (f letter.Failure, err error) {
		err = rows.Scan(&f.Topic, &f.Partition, &f.Offset, &f.Attempts, &f.FirstMS, &f.LastMS, &f.Kind, &f.Error, &f.Via)
		return f, err
	})
	if err != nil {
		return letter.Letter{}, nil, fmt.Errorf("read the failures of letter %s: %w", id, err)
	}
	return found[0].Letter, failures, nil
}
