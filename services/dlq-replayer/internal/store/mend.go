package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/letter"
)

// MaxMended is how many letters one mending may have: their values are held in memory.
const MaxMended = 10_000

// Mended is what a mending did.
type Mended struct {
	Mended    int       `json:"mended"`
	Unchanged int       `json:"unchanged"`
	Refused   []Refusal `json:"refused,omitempty"` // the first hundred
}

// Refusal is a letter that could not be mended, and why.
type Refusal struct {
	Letter string `json:"letter"`
	Why    string `json:"why"`
}

func (m *Mended) refuse(id, why string) {
	if len(m.Refused) < 100 {
		m.Refused = append(m.Refused, Refusal{id, why})
	}
}

// Edit is one mending of one letter.
type Edit struct {
	Revision int    `json:"revision"`
	AtMS     int64  `json:"atMs"` // unix ms
	Who      string `json:"by"`
	Reason   string `json:"reason"`
	Before   []byte `json:"before"` // nil for null
	After    []byte `json:"after"`
}

// ErrBusy says that a running job has the letter.
var ErrBusy = errors.New("a running job has the letter: cancel it, or wait for its end")

// Mend gives each selected letter the value that mend makes of it: nil for null. Key, headers and event id stay; the value before and after are kept. An error of mend refuses that letter and leaves it
// as it is. A letter that was mended is run only after a rehearsal found it fit.
func (s Store) Mend(ctx context.Context, sel Selection, action, who, reason string, mend func(l letter.Letter) ([]byte, error)) (m Mended, err error) {
	err = s.DB.Tx(ctx, func(tx *database.Tx) error {
		m = Mended{}
		return mendTx(ctx, tx, sel, &m, Deed{who, action, subject(sel), reason, nil}, mend)
	})
	if err != nil {
		return m, fmt.Errorf("%s letters: %w", action, err)
	}
	return m, nil
}

func mendTx(ctx context.Context, tx *database.Tx, sel Selection, m *Mended, d Deed, mend func(l letter.Letter) ([]byte, error)) error {
	from, args, v := sel.from(tx.Dialect, nil)
	rows, err := query(ctx, tx, v, `SELECT `+columns+`, EXISTS (SELECT 1 FROM job_letters o WHERE o.claim = l.id) FROM `+from+
		fmt.Sprintf(" ORDER BY l.id LIMIT %d", MaxMended+1)+forUpdate(tx.Dialect), args...)
	type claimed struct {
		numbered
		busy bool
	}
	all, err := database.Collect(rows, err, func(rows *sql.Rows) (c claimed, err error) {
		c.numbered, err = scan(more(rows, &c.busy))
		return c, err
	})
	switch {
	case err != nil:
		return err
	case len(all) > MaxMended:
		return fmt.Errorf("%w: a mending takes %d", ErrTooMany, MaxMended)
	case len(all) == 0:
		return ErrNothing
	}
	var edits []Edit
	var ids []string
	for _, l := range all {
		if l.busy {
			m.refuse(l.ID, ErrBusy.Error())
			continue
		}
		if l.State != letter.Dead && l.State != letter.Quarantined {
			m.refuse(l.ID, "the letter is "+string(l.State))
			continue
		}
		after, err := mend(l.Letter)
		switch {
		case err != nil:
			m.refuse(l.ID, err.Error())
		case bytes.Equal(after, l.Value) && (after == nil) == (l.Value == nil):
			m.Unchanged++
		default:
			m.Mended++
			ids = append(ids, l.ID)
			edits = append(edits, Edit{Revision: l.Revision + 1, Who: d.Who, Reason: d.Reason, Before: l.Value, After: after})
		}
	}
	if err := writeEditsTx(ctx, tx, ids, edits); err != nil {
		return err
	}
	d.Detail = map[string]any{"selection": sel, "mended": m.Mended, "unchanged": m.Unchanged, "refused": len(m.Refused)}
	return auditTx(ctx, tx, d)
}

// forUpdate locks the letters and not what they are joined with.
func forUpdate(d database.Dialect) string {
	if lock := d.ForUpdate(); lock != "" {
		return lock + " OF l"
	}
	return ""
}

// takeEditsTx keeps the mendings with which letters were imported, by letter. They are taken only where the value here is
// the one they led to and nobody mended it here: an import never changes a value.
func takeEditsTx(ctx context.Context, tx *database.Tx, history map[string][]Edit) error {
	type mending struct {
		Edit

		letter string
		last   []byte
		newest int
	}
	var all []mending
	for _, id := range slices.Sorted(maps.Keys(history)) {
		edits := history[id]
		newest := slices.MaxFunc(edits, func(a, b Edit) int { return cmp.Compare(a.Revision, b.Revision) })
		for _, e := range edits {
			all = append(all, mending{e, id, newest.After, newest.Revision})
		}
	}
	if len(all) == 0 {
		return nil
	}
	v := database.NewValues(
		col("letter", "text", all, func(m mending) string { return m.letter }),
		col("revision", "int", all, func(m mending) int { return m.Revision }),
		col("at", "bigint", all, func(m mending) int64 { return m.AtMS }),
		col("who", "text", all, func(m mending) string { return m.Who }),
		col("reason", "text", all, func(m mending) string { return m.Reason }),
		col("before", "bytea", all, func(m mending) []byte { return m.Before }),
		col("after", "bytea", all, func(m mending) []byte { return m.After }),
		col("last", "bytea", all, func(m mending) []byte { return m.last }),
		col("newest", "int", all, func(m mending) int { return m.newest }))
	if _, err := tx.ExecValues(ctx, v, `INSERT INTO edits (letter, revision, at, who, reason, before, after)
		SELECT v.letter, v.revision, v.at, v.who, v.reason, v.before, v.after FROM v JOIN letters l ON l.id = v.letter
		WHERE l.revision = 0 AND l.value IS NOT DISTINCT FROM v.last ON CONFLICT DO NOTHING`); err != nil {
		return fmt.Errorf("keep the mendings of imported letters: %w", err)
	}
	_, err := tx.ExecValues(ctx, v, `UPDATE letters SET revision = v.newest FROM v
		WHERE letters.id = v.letter AND v.revision = v.newest AND letters.revision = 0 AND letters.value IS NOT DISTINCT FROM v.last`)
	if err != nil {
		return fmt.Errorf("count the mendings of imported letters: %w", err)
	}
	return nil
}

func writeEditsTx(ctx context.Context, tx *database.Tx, ids []string, edits []Edit) error {
	if len(ids) == 0 {
		return nil
	}
	v := database.NewValues(
		database.Col("letter", "text", ids),
		col("revision", "int", edits, func(e Edit) int { return e.Revision }),
		col("who", "text", edits, func(e Edit) string { return e.Who }),
		col("reason", "text", edits, func(e Edit) string { return e.Reason }),
		col("after", "bytea", edits, func(e Edit) []byte { return e.After }))
	if _, err := tx.ExecValues(ctx, v, `INSERT INTO edits (letter, revision, at, who, reason, before, after)
		SELECT v.letter, v.revision, `+tx.Dialect.NowMS()+`, v.who, v.reason, l.value, v.after FROM v JOIN letters l ON l.id = v.letter`); err != nil {
		return err
	}
	_, err := tx.ExecValues(ctx, v, `UPDATE letters SET value = v.after, revision = v.revision FROM v WHERE letters.id = v.letter`)
	return err
}

// Edits are what was mended of a letter, the newest first.
func (s Store) Edits(ctx context.Context, id string) ([]Edit, error) {
	rows, err := s.DB.QueryContext(ctx, `SELECT revision, at, who, reason, before, after, before IS NULL, after IS NULL
		FROM edits WHERE letter = $1 ORDER BY revision DESC LIMIT 100`, id)
	found, err := database.Collect(rows, err, func(rows *sql.Rows) (e Edit, err error) {
		var nullBefore, nullAfter bool
		err = rows.Scan(&e.Revision, &e.AtMS, &e.Who, &e.Reason, &e.Before, &e.After, &nullBefore, &nullAfter)
		e.Before, e.After = whole(e.Before, nullBefore), whole(e.After, nullAfter)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("list the edits of letter %s: %w", id, err)
	}
	return found, nil
}

// Original gives a letter the value with which it came.
func (s Store) Original(ctx context.Context, id, who, reason string) (Mended, error) {
	var original []byte
	var null bool
	err := s.DB.QueryRowContext(ctx, `SELECT before, before IS NULL FROM edits WHERE letter = $1 ORDER BY revision LIMIT 1`, id).Scan(&original, &null)
	if errors.Is(err, sql.ErrNoRows) {
		return Mended{}, ErrNotFound
	}
	if err != nil {
		return Mended{}, fmt.Errorf("find the original of letter %s: %w", id, err)
	}
	return s.Mend(ctx, Selection{IDs: []string{id}}, "bring back the original", who, reason, func(letter.Letter) ([]byte, error) {
		return whole(original, null), nil
	})
}
