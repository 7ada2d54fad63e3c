package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/letter"
)

// moveTx takes letters that stand in one of from to another state, keeps the counts of their causes, and returns how many
// it moved. Letters, then causes, each in the order of their ids.
func moveTx(ctx context.Context, tx *database.Tx, ids []string, to letter.State, from ...letter.State) (int, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	v := database.NewValues(database.Col("id", "text", ids))
	rows, err := tx.QueryValues(ctx, v, `SELECT l.id, l.state, l.cause FROM letters l WHERE l.id IN (SELECT v.id FROM v)
		AND `+standsIn(from)+` ORDER BY l.id`+tx.Dialect.ForUpdate())
	causes := map[string]*tally{}
	count := func(cause string, n int64) {
		if causes[cause] == nil {
			causes[cause] = &tally{id: cause}
		}
		causes[cause].dead += n
	}
	moved, err := database.Collect(rows, err, func(rows *sql.Rows) (id string, err error) {
		var state letter.State
		var cause string
		err = rows.Scan(&id, &state, &cause)
		if state == letter.Dead {
			count(cause, -1)
		}
		if to == letter.Dead {
			count(cause, 1)
		}
		return id, err
	})
	if err != nil || len(moved) == 0 {
		return 0, err
	}
	_, err = tx.ExecValues(ctx, database.NewValues(database.Col("id", "text", moved)), `UPDATE letters SET state = $1
		FROM v WHERE letters.id = v.id`, string(to))
	if err != nil {
		return 0, fmt.Errorf("move %d letters: %w", len(moved), err)
	}
	return len(moved), upsertCausesTx(ctx, tx, causes)
}

// standsIn is the condition that letter l has one of states.
func standsIn(states []letter.State) string {
	var words []string
	for _, state := range states {
		words = append(words, "'"+string(state)+"'")
	}
	return "l.state IN (" + strings.Join(words, ", ") + ")"
}

// Fates are what somebody may decide about letters, and from which states.
var Fates = map[string]struct {
	To   letter.State
	From []letter.State
}{
	"discard":    {letter.Discarded, []letter.State{letter.Dead, letter.Quarantined}},
	"quarantine": {letter.Quarantined, []letter.State{letter.Dead}},
	"restore":    {letter.Dead, []letter.State{letter.Discarded, letter.Quarantined}},
}

// Decide moves the selected letters as the fate says and returns how many. Those of a running job, and those whose state does not
// allow it, stay as they are.
func (s Store) Decide(ctx context.Context, fate string, sel Selection, who, reason string) (moved int, err error) {
	f := Fates[fate]
	err = s.DB.Tx(ctx, func(tx *database.Tx) error {
		ids, err := selectedTx(ctx, tx, sel, f.From)
		if err != nil {
			return err
		}
		if moved, err = moveTx(ctx, tx, ids, f.To, f.From...); err != nil {
			return err
		}
		return auditTx(ctx, tx, Deed{who, fate, subject(sel), reason, map[string]any{"selection": sel, "letters": moved}})
	})
	if err != nil {
		return 0, fmt.Errorf("%s letters: %w", fate, err)
	}
	return moved, nil
}

// subject names a selection in the audit: the letter, where it is one.
func subject(sel Selection) string {
	if len(sel.IDs) == 1 {
		return "letter " + sel.IDs[0]
	}
	if sel.Filter != nil && sel.Filter.Cause != "" {
		return "cause " + sel.Filter.Cause
	}
	return "letters"
}

// selectedTx are the ids of the selected letters that no running job has. A filter that names no state means those that are
// dead; where states has none such, those that stand in any of states.
func selectedTx(ctx context.Context, tx *database.Tx, sel Selection, states []letter.State) ([]string, error) {
	if sel.Filter != nil && !slices.Contains(states, letter.Dead) {
		q := *sel.Filter
		q.states = states
		sel.Filter = &q
	}
	from, args, v := sel.from(tx.Dialect, nil)
	statement := `SELECT l.id, EXISTS (SELECT 1 FROM job_letters o WHERE o.claim = l.id) FROM ` + from + fmt.Sprintf(" LIMIT %d", MaxSelected+1)
	rows, err := query(ctx, tx, v, statement, args...)
	n := 0
	found, err := database.Collect(rows, err, func(rows *sql.Rows) (id string, err error) {
		var claimed bool
		n++
		if err = rows.Scan(&id, &claimed); claimed {
			id = ""
		}
		return id, err
	})
	switch {
	case err != nil:
		return nil, err
	case n > MaxSelected:
		return nil, ErrTooMany
	case n == 0:
		return nil, ErrNothing
	}
	return slices.DeleteFunc(found, func(id string) bool { return id == "" }), nil
}

// query is exec for a statement that answers rows.
func query(ctx context.Context, tx *database.Tx, v *database.Values, statement string, args ...any) (*sql.Rows, error) {
	if v == nil {
		return tx.QueryContext(ctx, statement, args...)
	}
	return tx.QueryValues(ctx, *v, statement, args...)
}

// Import stores letters that another replayer exported: as deaths, so that one which is here already stays one letter, and
// with what was mended of each there. It returns how many were new deaths.
func (s Store) Import(ctx context.Context, letters []letter.Letter, history map[string][]Edit, who, reason string) (n int, err error) {
	err = s.DB.Tx(ctx, func(tx *database.Tx) error {
		changed, err := CollectTx(ctx, tx, letters)
		if err != nil {
			return err
		}
		if err := takeEditsTx(ctx, tx, history); err != nil {
			return err
		}
		n = 0
		for _, fresh := range changed {
			if fresh {
				n++
			}
		}
		return auditTx(ctx, tx, Deed{who, "import", "letters", reason, map[string]int{"letters": len(letters), "new": n}})
	})
	if err != nil {
		return 0, fmt.Errorf("import %d letters: %w", len(letters), err)
	}
	return n, nil
}
