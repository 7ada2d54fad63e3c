package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/letter"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/replay"
)

// Selection is what a job, or another action on many letters, is about: the letters named, or those that a filter finds.
type Selection struct {
	IDs    []string `json:"ids,omitempty"`
	Filter *Query   `json:"filter,omitempty"`
}

// MaxSelected is how many letters one selection may have.
const MaxSelected = 100_000

// Refusals of a selection.
var (
	ErrTooMany = fmt.Errorf("the selection has more than %d letters: narrow it, or take it in parts", MaxSelected)
	ErrNothing = errors.New("the selection finds no letter")
	ErrAmbigue = errors.New("a selection has either ids or a filter")
)

// Check says what is wrong with the selection's form.
func (sel Selection) Check() error {
	switch {
	case (len(sel.IDs) == 0) == (sel.Filter == nil):
		return ErrAmbigue
	case len(sel.IDs) > MaxSelected:
		return ErrTooMany
	}
	return nil
}

// from is the table l of the selected letters, in a statement that begins with the table v of ids where there are any.
// Where a filter names no state it finds those that are dead.
func (sel Selection) from(d database.Dialect, args []any) (from string, all []any, v *database.Values) {
	if sel.Filter == nil {
		ids := slices.Compact(slices.Sorted(slices.Values(sel.IDs)))
		values := database.NewValues(database.Col("id", "text", ids))
		return `letters l JOIN v ON v.id = l.id`, args, &values
	}
	q := *sel.Filter
	if q.State == "" && q.states == nil {
		q.State = letter.Dead
	}
	where, args := q.where(d, args)
	return `letters l WHERE ` + where, args, nil
}

// distinct is how many letters ids name.
func (sel Selection) distinct() int {
	return len(slices.Compact(slices.Sorted(slices.Values(sel.IDs))))
}

// exec runs a statement that may need v.
func exec(ctx context.Context, tx *database.Tx, v *database.Values, query string, args ...any) (int, error) {
	var done sql.Result
	var err error
	if v == nil {
		done, err = tx.ExecContext(ctx, query, args...)
	} else {
		done, err = tx.ExecValues(ctx, *v, query, args...)
	}
	if err != nil {
		return 0, err
	}
	n, err := done.RowsAffected()
	return int(n), err
}

// CreateJob freezes a selection into a job that begins at once. Letters that cannot be sent are in it as skipped, each
// with the reason.
func (s Store) CreateJob(ctx context.Context, j replay.Job, sel Selection, groups []string) (replay.Job, error) {
	selection, err := json.Marshal(sel)
	if err != nil {
		return j, fmt.Errorf("create a job: %w", err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return j, fmt.Errorf("create a job: %w", err)
	}
	j.ID, j.Selection = id.String(), string(selection)
	j.Start()
	for try := 0; ; try++ {
		err = s.DB.Tx(ctx, func(tx *database.Tx) error { return createTx(ctx, tx, &j, sel, groups) })
		// Another job took a letter between the look and the claim: the next look sees it.
		if _, taken := database.UniqueViolation(err); taken && try < 5 {
			continue
		}
		if err != nil {
			return j, fmt.Errorf("create a job: %w", err)
		}
		return j, nil
	}
}

func createTx(ctx context.Context, tx *database.Tx, j *replay.Job, sel Selection, groups []string) error {
	if err := tx.QueryRowContext(ctx, `SELECT `+tx.Dialect.NowMS()).Scan(&j.CreatedMS); err != nil {
		return err
	}
	j.State, j.Counts, j.EndedMS = replay.Running, replay.Counts{}, 0 // an earlier try may have set them
	if err := insertJobTx(ctx, tx, j); err != nil {
		return err
	}
	claim := "NULL"
	if j.Mode == replay.Run {
		claim = "CASE WHEN s.why = '' THEN s.id END"
	}
	args := []any{j.ID, "," + strings.Join(groups, ",") + ",", j.Mode == replay.Run}
	from, args, v := sel.from(tx.Dialect, args)
	n, err := exec(ctx, tx, v, fmt.Sprintf(`INSERT INTO job_letters (job, n, letter, outcome, claim, error)
		SELECT $1, s.seq, s.id, CASE WHEN s.why = '' THEN 'waiting' ELSE 'skipped' END, %s, s.why
		FROM (SELECT l.seq, l.id, %s AS why FROM %s LIMIT %d) s ORDER BY s.seq`, claim, unfit("$2", "$3"), from, MaxSelected+1), args...)
	switch {
	case err != nil:
		return err
	case n > MaxSelected:
		return ErrTooMany
	case sel.Filter == nil && n < sel.distinct():
		return fmt.Errorf("%w: the selection names %d letters, of which %d are here", ErrNothing, sel.distinct(), n)
	case n == 0:
		return ErrNothing
	}
	rows, err := tx.QueryContext(ctx, `SELECT outcome, count(*) FROM job_letters WHERE job = $1 GROUP BY outcome`, j.ID)
	if _, err := database.Collect(rows, err, func(rows *sql.Rows) (none struct{}, err error) {
		var outcome replay.Outcome
		var n int
		err = rows.Scan(&outcome, &n)
		j.Counts[outcome] = n
		return none, err
	}); err != nil {
		return err
	}
	j.Settle(j.CreatedMS)
	if err := saveJobTx(ctx, tx, j); err != nil {
		return err
	}
	return auditTx(ctx, tx, Deed{j.By, string(j.Mode), "job " + j.ID, j.Reason, map[string]any{
		"selection": json.RawMessage(j.Selection), "letters": n, "rate": j.Rate, "budgetPercent": j.Budget,
	}})
}

// unfit is why a letter l cannot be sent, empty when it can. groups is a parameter with the known groups between commas,
// run one that says whether this is a run.
func unfit(groups, run string) string {
	return fmt.Sprintf(`CASE
		WHEN l.state <> 'dead' THEN 'the letter is ' || l.state
		WHEN l.omitted_bytes > 0 THEN 'its bytes were too large to be kept'
		WHEN l.consumer_group = '' THEN 'its record names no group'
		WHEN replace(%[1]s, ',' || l.consumer_group || ',', '') = %[1]s THEN 'group ' || l.consumer_group || ' is none of this suite'
		WHEN %[2]s AND l.revision <> l.rehearsed THEN 'it was mended and not rehearsed with success since: rehearse it first'
		WHEN %[2]s AND EXISTS (SELECT 1 FROM job_letters o WHERE o.claim = l.id)
			THEN 'job ' || (SELECT o.job FROM job_letters o WHERE o.claim = l.id) || ' has it'
		ELSE '' END`, groups, run)
}

const jobColumns = `id, mode, selection, reason, asked_by, state, why, rate, budget, batch, batch_left, next_at, answered_before,
	failed_before, waiting, sent, applied, already_applied, failed_again, no_answer, skipped, not_sent, created_at, ended_at`

// values are j's in the order of jobColumns.
func values(j *replay.Job) []any {
	all := []any{
		j.ID, string(j.Mode), j.Selection, j.Reason, j.By, string(j.State), j.Why, j.Rate, j.Budget, j.Batch, j.Left, j.Next,
		j.AnsweredBefore, j.FailedBefore,
	}
	for _, outcome := range replay.Outcomes {
		all = append(all, j.Counts[outcome])
	}
	return append(all, j.CreatedMS, j.EndedMS)
}

func scanJob(row interface{ Scan(into ...any) error }) (j replay.Job, err error) {
	counts := make([]int, len(replay.Outcomes))
	into := []any{
		&j.ID, &j.Mode, &j.Selection, &j.Reason, &j.By, &j.State, &j.Why, &j.Rate, &j.Budget, &j.Batch, &j.Left, &j.Next,
		&j.AnsweredBefore, &j.FailedBefore,
	}
	for i := range counts {
		into = append(into, &counts[i])
	}
	err = row.Scan(append(into, &j.CreatedMS, &j.EndedMS)...)
	j.Counts = replay.Counts{}
	for i, outcome := range replay.Outcomes {
		j.Counts[outcome] = counts[i]
	}
	return j, err
}

func insertJobTx(ctx context.Context, tx *database.Tx, j *replay.Job) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO jobs (`+jobColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
		$14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)`, values(j)...)
	return err
}

// saveJobTx writes what changes of a job. Its row is locked.
func saveJobTx(ctx context.Context, tx *database.Tx, j *replay.Job) error {
	_, err := tx.ExecContext(ctx, `UPDATE jobs SET (`+jobColumns+`) = ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
		$14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24) WHERE id = $1`, values(j)...)
	if err != nil {
		return fmt.Errorf("save job %s: %w", j.ID, err)
	}
	return nil
}

// lockJobTx reads a job and keeps others from changing it; ErrNotFound if there is none. now is the database's clock in ms.
func lockJobTx(ctx context.Context, tx *database.Tx, id string) (j replay.Job, now int64, err error) {
	j, err = scanJob(tx.QueryRowContext(ctx, `SELECT `+jobColumns+` FROM jobs WHERE id = $1`+tx.Dialect.ForUpdate(), id))
	if errors.Is(err, sql.ErrNoRows) {
		return j, 0, ErrNotFound
	}
	if err == nil { // asked after the lock: waiting for it takes time
		err = tx.QueryRowContext(ctx, `SELECT `+tx.Dialect.NowMS()).Scan(&now)
	}
	if err != nil {
		return j, 0, fmt.Errorf("lock job %s: %w", id, err)
	}
	return j, now, nil
}

// Act does what an operator asks of a job: replay.ErrIllegal when its state does not allow that. Who gives no reason has the
// job's: nobody who must stop it at once should have to think of words.
func (s Store) Act(ctx context.Context, id string, action replay.Action, who, reason string) (j replay.Job, err error) {
	err = s.DB.Tx(ctx, func(tx *database.Tx) error {
		var now int64
		if j, now, err = lockJobTx(ctx, tx, id); err != nil {
			return err
		}
		if err := j.Act(action); err != nil {
			return err
		}
		switch action {
		case replay.Cancel:
			done, err := tx.ExecContext(ctx, `UPDATE job_letters SET outcome = 'not-sent', claim = NULL WHERE job = $1 AND outcome = 'waiting'`, id)
			if err != nil {
				return fmt.Errorf("cancel job %s: %w", id, err)
			}
			n, err := done.RowsAffected()
			if err != nil {
				return fmt.Errorf("cancel job %s: %w", id, err)
			}
			for range n {
				j.Move(replay.Waiting, replay.NotSent)
			}
		case replay.Resume: // who said nothing is asked again before the job pauses once more
			if _, err := tx.ExecContext(ctx, `UPDATE job_letters SET asks = 1 WHERE job = $1 AND outcome = 'sent'`, id); err != nil {
				return fmt.Errorf("resume job %s: %w", id, err)
			}
		case replay.Stop:
		}
		j.Settle(now)
		if err := saveJobTx(ctx, tx, &j); err != nil {
			return err
		}
		return auditTx(ctx, tx, Deed{who, string(action), "job " + id, cmp.Or(strings.TrimSpace(reason), j.Reason), j.Counts})
	})
	return j, err
}

// Jobs is a page of jobs, the newest first, before the job with the id before; "" for the newest page.
func (s Store) Jobs(ctx context.Context, state replay.State, before string, limit int) ([]replay.Job, error) {
	rows, err := s.DB.QueryContext(ctx, `SELECT `+jobColumns+` FROM jobs WHERE ($1 = '' OR state = $1) AND ($2 = '' OR id < $2)
		ORDER BY id DESC LIMIT $3`, string(state), before, limit)
	found, err := database.Collect(rows, err, func(rows *sql.Rows) (replay.Job, error) { return scanJob(rows) })
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	return found, nil
}

// Job is one job; ErrNotFound if there is none.
func (s Store) Job(ctx context.Context, id string) (replay.Job, error) {
	j, err := scanJob(s.DB.QueryRowContext(ctx, `SELECT `+jobColumns+` FROM jobs WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return j, ErrNotFound
	}
	if err != nil {
		return j, fmt.Errorf("read job %s: %w", id, err)
	}
	return j, nil
}

// Replayed is one letter in one job. Times are unix ms, 0 for not yet.
type Replayed struct {
	Job        string
	Mode       replay.Mode
	Letter     string
	N          int64
	Outcome    replay.Outcome
	Asks       int
	SentMS     int64
	AnsweredMS int64
	ErrorKind  string
	Error      string
}

const replayedColumns = `r.job, j.mode, r.letter, r.n, r.outcome, r.asks, r.sent_at, r.answered_at, r.error_kind, r.error`

func scanReplayed(rows *sql.Rows) (r Replayed, err error) {
	err = rows.Scan(&r.Job, &r.Mode, &r.Letter, &r.N, &r.Outcome, &r.Asks, &r.SentMS, &r.AnsweredMS, &r.ErrorKind, &r.Error)
	return r, err
}

// JobLetters is a page of a job's letters in their order, after the one numbered after; outcome "" means all.
func (s Store) JobLetters(ctx context.Context, id string, outcome replay.Outcome, after int64, limit int) ([]Replayed, error) {
	rows, err := s.DB.QueryContext(ctx, `SELECT `+replayedColumns+` FROM job_letters r JOIN jobs j ON j.id = r.job
		WHERE r.job = $1 AND ($2 = '' OR r.outcome = $2) AND r.n > $3 ORDER BY r.n LIMIT $4`, id, string(outcome), after, limit)
	found, err := database.Collect(rows, err, scanReplayed)
	if err != nil {
		return nil, fmt.Errorf("list the letters of job %s: %w", id, err)
	}
	return found, nil
}

// Replays are the jobs that a letter was in, the newest first.
func (s Store) Replays(ctx context.Context, letter string) ([]Replayed, error) {
	rows, err := s.DB.QueryContext(ctx, `SELECT `+replayedColumns+` FROM job_letters r JOIN jobs j ON j.id = r.job
		WHERE r.letter = $1 ORDER BY r.job DESC LIMIT 100`, letter)
	found, err := database.Collect(rows, err, scanReplayed)
	if err != nil {
		return nil, fmt.Errorf("list the replays of letter %s: %w", letter, err)
	}
	return found, nil
}

// OpenJobs are the jobs that are not through with all their letters.
func (s Store) OpenJobs(ctx context.Context) ([]string, error) {
	rows, err := s.DB.QueryContext(ctx, `SELECT id FROM jobs WHERE waiting > 0 OR sent > 0 ORDER BY id`)
	found, err := database.Collect(rows, err, func(rows *sql.Rows) (id string, err error) { return id, rows.Scan(&id) })
	if err != nil {
		return nil, fmt.Errorf("list open jobs: %w", err)
	}
	return found, nil
}
