package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/letter"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/replay"
)

// Drive is how jobs are driven.
type Drive struct {
	Groups []string      // that may be replayed to
	Answer time.Duration // how long a group may take to answer
}

// maxAsks is how often a run sends a letter without an answer before it pauses: the group is not there, and more copies
// would not bring it back.
const maxAsks = 3

// due is a letter whose turn it is.
type due struct {
	letter letter.Letter
	asks   int    // so far
	why    string // it cannot be sent, empty when it can
}

// Advance sends the letters of one job whose turn it is: what the pace allows, and those that nobody answered for. What is
// sent is noted in the transaction that puts it into the outbox, so that whoever is killed, nothing is forgotten; a letter
// that Kafka gets twice is applied once by its group. It returns how many were put there.
//
// Law 6: jobs, job letters, letters, causes and the audit are locked in this order.
func (s Store) Advance(ctx context.Context, id string, d Drive) (sent int, err error) {
	err = s.DB.Tx(ctx, func(tx *database.Tx) error {
		j, now, err := lockJobTx(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := silentTx(ctx, tx, &j, now, d); err != nil {
			return err
		}
		sent = 0
		if n := j.Take(now * 1000); n > 0 {
			if sent, err = sendTx(ctx, tx, &j, now, d, `r.outcome = 'waiting' ORDER BY r.n`, n); err != nil {
				return err
			}
		}
		j.Settle(now)
		return saveJobTx(ctx, tx, &j)
	})
	if err != nil {
		return 0, fmt.Errorf("advance job %s: %w", id, err)
	}
	return sent, nil
}

// again is how many letters without an answer one Advance looks at.
const again = 500

// silentTx does what is due for letters that nobody answered for in time: a run asks again, and pauses when asking does not
// help; a rehearsal, and a job that was cancelled, let it be.
func silentTx(ctx context.Context, tx *database.Tx, j *replay.Job, now int64, d Drive) error {
	if j.Counts[replay.Sent] == 0 || j.State == replay.Paused {
		return nil
	}
	late, before := `r.outcome = 'sent' AND r.sent_at <= `, now-d.Answer.Milliseconds()
	if j.Mode == replay.Rehearse || j.State == replay.Cancelled {
		done, err := tx.ExecContext(ctx, `UPDATE job_letters SET outcome = 'no-answer', claim = NULL, error = $2 WHERE job = $1
			AND letter IN (SELECT r.letter FROM job_letters r WHERE r.job = $1 AND `+late+`$3)`, j.ID,
			fmt.Sprintf("the group did not answer within %s: is it running?", d.Answer), before)
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		for range n {
			j.Move(replay.Sent, replay.NoAnswer)
		}
		return err
	}
	var spent int
	var group sql.NullString
	if err := tx.QueryRowContext(ctx, `SELECT count(*), max(l.consumer_group) FROM job_letters r JOIN letters l ON l.id = r.letter
		WHERE r.job = $1 AND r.asks >= $2 AND `+late+`$3`, j.ID, maxAsks, before).Scan(&spent, &group); err != nil {
		return err
	}
	if spent > 0 {
		j.Pause(fmt.Sprintf("group %s gave no answer to %d letters, asked %d times: is it running? Resume asks again", group.String, spent, maxAsks))
		return nil
	}
	_, err := sendTx(ctx, tx, j, now, d, late+`$4 ORDER BY r.n`, again, before)
	return err
}

// sendTx puts up to n of a job's letters into the outbox. One that is not fit any more is skipped. The parameters of which
// begin at $4.
func sendTx(ctx context.Context, tx *database.Tx, j *replay.Job, now int64, d Drive, which string, n int, args ...any) (int, error) {
	rows, err := tx.QueryContext(ctx, `SELECT `+columns+`, r.asks, `+unfit("$2", "$3")+` FROM job_letters r JOIN letters l ON l.id = r.letter
		WHERE r.job = $1 AND `+which+fmt.Sprintf(" LIMIT %d", n), append([]any{j.ID, "," + strings.Join(d.Groups, ",") + ",", false}, args...)...)
	all, err := database.Collect(rows, err, func(rows *sql.Rows) (one due, err error) {
		found, err := scan(more(rows, &one.asks, &one.why))
		one.letter = found.Letter
		if one.why == "" && j.Mode == replay.Run && found.Revision != found.Rehearsed {
			one.why = "it was mended and not rehearsed with success since: rehearse it first"
		}
		return one, err
	})
	if err != nil {
		return 0, err
	}
	var events []outbox.Event
	for i, one := range all {
		if one.why != "" {
			from := replay.Waiting
			if one.asks > 0 {
				from = replay.Sent
			}
			j.Move(from, replay.Skipped)
			continue
		}
		if one.asks == 0 {
			j.Move(replay.Waiting, replay.Sent)
		}
		all[i].asks++
		events = append(events, record(j, one))
	}
	if err := noteSentTx(ctx, tx, j, now, all); err != nil {
		return 0, err
	}
	return len(events), outbox.AppendTx(ctx, tx, events...)
}

// record is what the group reads: the letter as it is, and which replay this is.
func record(j *replay.Job, one due) outbox.Event {
	l := one.letter
	e := outbox.Event{
		ID:    fmt.Sprintf("replay/%s/%s/%d", j.ID, l.ID, one.asks),
		Topic: kafka.ReplayTopic(l.Group), Key: l.Key, Value: l.Value,
	}
	for _, h := range l.Headers {
		e.Headers = append(e.Headers, outbox.Header(h))
	}
	e.Headers = append(e.Headers, kafka.Replay{Job: j.ID, Letter: l.ID, Topic: l.Topic, DryRun: j.Mode == replay.Rehearse}.Headers()...)
	return e
}

// noteSentTx writes what sendTx did with each letter.
func noteSentTx(ctx context.Context, tx *database.Tx, j *replay.Job, now int64, all []due) error {
	if len(all) == 0 {
		return nil
	}
	v := database.NewValues(
		col("letter", "text", all, func(one due) string { return one.letter.ID }),
		col("asks", "int", all, func(one due) int { return one.asks }),
		col("revision", "int", all, func(one due) int { return one.letter.Revision }),
		col("why", "text", all, func(one due) string { return one.why }))
	_, err := tx.ExecValues(ctx, v, `UPDATE job_letters SET asks = v.asks, revision = v.revision, error = v.why, sent_at = $2,
			outcome = CASE WHEN v.why = '' THEN 'sent' ELSE 'skipped' END, claim = CASE WHEN v.why = '' THEN claim END
		FROM v WHERE job = $1 AND job_letters.letter = v.letter`, j.ID, now)
	return err
}

// more scans further columns behind those that scan knows.
func more(rows *sql.Rows, further ...any) scanner {
	return func(into ...any) error { return rows.Scan(append(into, further...)...) }
}

type scanner func(into ...any) error

func (f scanner) Scan(into ...any) error { return f(into...) }

// heard names one letter in one job.
type heard struct{ job, letter string }

// HearTx notes what groups say of letters that were sent to them, and says of each whether it was news. What a run applied
// is not dead any more; what failed again died once more.
//
// Law 6: jobs, job letters, then what CollectTx and MoveTx lock.
func HearTx(ctx context.Context, tx *database.Tx, outcomes []kafka.Outcome) ([]bool, error) {
	changed := make([]bool, len(outcomes))
	jobs := map[string]*replay.Job{}
	var now int64
	for _, o := range outcomes {
		jobs[o.Job] = nil
	}
	for _, id := range slices.Sorted(maps.Keys(jobs)) {
		j, at, err := lockJobTx(ctx, tx, id)
		switch {
		case err == nil:
			jobs[id], now = &j, at
		case err != ErrNotFound: //nolint:errorlint // it is returned as it is
			return nil, err
		}
	}
	stand, err := standTx(ctx, tx, outcomes)
	if err != nil {
		return nil, err
	}
	latest := map[heard]kafka.Outcome{}
	for i, o := range outcomes {
		at := heard{o.Job, o.Letter}
		j, from := jobs[o.Job], stand[at]
		to := replay.Outcome(o.Kind)
		if j == nil || from == nil || o.DryRun != (j.Mode == replay.Rehearse) || !j.Move(from.Outcome, to) {
			continue // another installation's, an answer to an earlier ask, or one told twice
		}
		from.Outcome, from.ErrorKind, from.Error, from.AnsweredMS = to, o.ErrorKind, o.Error, o.AtMS
		latest[at], changed[i] = o, true
	}
	if len(latest) == 0 {
		return changed, nil
	}
	if err := writeHeardTx(ctx, tx, stand, latest); err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(jobs)) {
		if j := jobs[id]; j != nil {
			j.Settle(now)
			if err := saveJobTx(ctx, tx, j); err != nil {
				return nil, err
			}
		}
	}
	return changed, concludeTx(ctx, tx, stand, latest)
}

// replaying is a letter in a job, with the revision that was sent.
type replaying struct {
	Replayed
	revision int
}

func standTx(ctx context.Context, tx *database.Tx, outcomes []kafka.Outcome) (map[heard]*replaying, error) {
	v := database.NewValues(
		col("job", "text", outcomes, func(o kafka.Outcome) string { return o.Job }),
		col("letter", "text", outcomes, func(o kafka.Outcome) string { return o.Letter }))
	rows, err := tx.QueryValues(ctx, v, `SELECT r.job, r.letter, r.outcome, r.revision FROM job_letters r
		WHERE (r.job, r.letter) IN (SELECT v.job, v.letter FROM v)`)
	stand := map[heard]*replaying{}
	_, err = database.Collect(rows, err, func(rows *sql.Rows) (r replaying, err error) {
		err = rows.Scan(&r.Job, &r.Letter, &r.Outcome, &r.revision)
		stand[heard{r.Job, r.Letter}] = &r
		return r, err
	})
	return stand, err
}

func writeHeardTx(ctx context.Context, tx *database.Tx, stand map[heard]*replaying, latest map[heard]kafka.Outcome) error {
	keys := slices.Collect(maps.Keys(latest))
	v := database.NewValues(
		col("job", "text", keys, func(k heard) string { return k.job }),
		col("letter", "text", keys, func(k heard) string { return k.letter }),
		col("outcome", "text", keys, func(k heard) string { return string(stand[k].Outcome) }),
		col("answered_at", "bigint", keys, func(k heard) int64 { return stand[k].AnsweredMS }),
		col("error_kind", "text", keys, func(k heard) string { return stand[k].ErrorKind }),
		col("error", "text", keys, func(k heard) string { return stand[k].Error }))
	_, err := tx.ExecValues(ctx, v, `UPDATE job_letters SET outcome = v.outcome, claim = NULL, answered_at = v.answered_at,
			error_kind = v.error_kind, error = v.error
		FROM v WHERE job_letters.job = v.job AND job_letters.letter = v.letter`)
	return err
}

// concludeTx does with the letters what their outcomes mean.
func concludeTx(ctx context.Context, tx *database.Tx, stand map[heard]*replaying, latest map[heard]kafka.Outcome) error {
	var applied, failed, fit []heard
	for at, o := range latest {
		switch {
		case o.DryRun && o.Kind != kafka.FailedAgain:
			fit = append(fit, at)
		case o.DryRun:
		case o.Kind == kafka.FailedAgain:
			failed = append(failed, at)
		default:
			applied = append(applied, at)
		}
	}
	if err := dieAgainTx(ctx, tx, failed, latest); err != nil {
		return err
	}
	ids := make([]string, len(applied))
	for i, at := range applied {
		ids[i] = at.letter
	}
	if _, err := moveTx(ctx, tx, ids, letter.Applied, letter.Dead, letter.Quarantined, letter.Discarded); err != nil {
		return err
	}
	if len(fit) == 0 {
		return nil
	}
	slices.SortFunc(fit, func(a, b heard) int { return strings.Compare(a.letter, b.letter) })
	v := database.NewValues(
		col("id", "text", fit, func(at heard) string { return at.letter }),
		col("revision", "int", fit, func(at heard) int { return stand[at].revision }))
	_, err := tx.ExecValues(ctx, v, `UPDATE letters SET rehearsed = v.revision FROM v WHERE letters.id = v.id AND letters.rehearsed < v.revision`)
	return err
}

// dieAgainTx lets letters die of what a replay of them failed with.
func dieAgainTx(ctx context.Context, tx *database.Tx, failed []heard, latest map[heard]kafka.Outcome) error {
	if len(failed) == 0 {
		return nil
	}
	ids := database.NewValues(col("id", "text", failed, func(at heard) string { return at.letter }))
	rows, err := tx.QueryValues(ctx, ids, `SELECT `+columns+` FROM letters l WHERE l.id IN (SELECT v.id FROM v)`)
	found, err := database.Collect(rows, err, func(rows *sql.Rows) (numbered, error) { return scan(rows) })
	if err != nil {
		return err
	}
	of := map[string]kafka.Outcome{}
	for _, at := range failed {
		of[at.letter] = latest[at]
	}
	var died []letter.Letter
	for _, l := range found {
		if l.State == letter.Applied {
			continue // another answer was better
		}
		o := of[l.ID]
		l.Last = letter.Failure{
			Topic: l.Topic, Partition: l.Partition, Offset: l.Offset, Attempts: 1, FirstMS: o.AtMS, LastMS: o.AtMS, Kind: o.ErrorKind,
			Error: o.Error, Via: letter.ViaReplay,
		}
		l.Cause = letter.Cause(l.Group, o.ErrorKind, o.Error)
		died = append(died, l.Letter)
	}
	if len(died) == 0 {
		return nil
	}
	_, err = CollectTx(ctx, tx, died)
	return err
}
