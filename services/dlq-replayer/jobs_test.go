package dlqreplayer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/letter"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/replay"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/store"
)

// group stands for the group that failed: it reads what the replayer sends and answers as judge says, "" for silence.
type group struct {
	bundle
	judge func(letter string, dryRun bool) kafka.OutcomeKind
	read  int64
	sent  []kafka.Record
}

var drive = store.Drive{Groups: []string{"points", "inventory"}, Answer: 100 * time.Millisecond}

// round lets the replayer send what is due and the group answer all of it.
func (g *group) round(job string) replay.Job {
	g.Helper()
	_, err := g.Advance(g.Context(), job, drive)
	must(g.T, err)
	rows, err := g.DB.QueryContext(g.Context(), `SELECT id, topic, key, value, headers FROM outbox WHERE id > $1 ORDER BY id`, g.read)
	must(g.T, err)
	var fresh []kafka.Record
	for rows.Next() {
		var r kafka.Record
		var headers []byte
		must(g.T, rows.Scan(&g.read, &r.Topic, &r.Key, &r.Value, &headers))
		r.Headers, err = outbox.DecodeHeaders(headers)
		must(g.T, err)
		fresh = append(fresh, r)
	}
	must(g.T, rows.Close())
	g.sent = append(g.sent, fresh...)
	var answers []kafka.Record
	for _, r := range fresh {
		if kind := g.judge(r.Header("replay-letter"), r.Header("dry-run") == "true"); kind != "" {
			answers = append(answers, answer(r, kind))
		}
	}
	g.tell(answers...)
	j, err := g.Job(g.Context(), job)
	must(g.T, err)
	return j
}

// answer is what a group's runtime says of a replayed record.
func answer(r kafka.Record, kind kafka.OutcomeKind) kafka.Record {
	dry := "false"
	if r.Header("dry-run") == "true" {
		dry = "true"
	}
	return kafka.Record{Topic: kafka.ReplayOutcomes, Headers: []kafka.Header{
		header("replay-job", r.Header("replay-job")), header("replay-letter", r.Header("replay-letter")), header("dlq-group", "points"),
		header("replay-outcome", string(kind)), header("dry-run", dry), header("dlq-error-kind", "odd"), header("dlq-error", "again"),
		header("dlq-last-failed-at", "5000"),
	}}
}

func (g *group) tell(answers ...kafka.Record) {
	g.Helper()
	if len(answers) > 0 {
		must(g.T, g.DB.Tx(g.Context(), func(tx *database.Tx) error {
			_, err := handle(g.Context(), tx, answers)
			return err
		}))
	}
}

// until runs rounds until the job is as done says.
func (g *group) until(job string, done func(j replay.Job) bool) replay.Job {
	g.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		j := g.round(job)
		if j.Counts.Total() != len(g.every(job)) {
			g.Fatalf("counts %v do not add up to %d letters", j.Counts, len(g.every(job)))
		}
		if done(j) {
			return j
		}
		if time.Now().After(end) {
			g.Fatalf("job is %s (%s) with %v", j.State, j.Why, j.Counts)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (g *group) every(job string) []store.Replayed {
	g.Helper()
	all, err := g.JobLetters(g.Context(), job, "", 0, 1000)
	must(g.T, err)
	return all
}

func isDone(j replay.Job) bool   { return j.State == replay.Done }
func isPaused(j replay.Job) bool { return j.State == replay.Paused }

// kill gives the group n letters of one cause and returns their ids, the oldest first.
func (b bundle) kill(n int) (ids []string) {
	b.Helper()
	var records []kafka.Record
	for i := range n {
		records = append(records, dead("points", fmt.Sprint("e-", i), int64(i), 1000, "failed", "order 17 is odd"))
	}
	b.collect(records...)
	for _, l := range b.all(store.Query{State: letter.Dead, Limit: 500}) {
		ids = append([]string{l.ID}, ids...)
	}
	return ids
}

func order(mode replay.Mode) replay.Job {
	return replay.Job{Mode: mode, Reason: "the bug is mended", By: "ann", Rate: replay.MaxRate, Budget: replay.DefaultBudget}
}

func (b bundle) create(mode replay.Mode, sel store.Selection) replay.Job {
	b.Helper()
	j, err := b.CreateJob(b.Context(), order(mode), sel, drive.Groups)
	must(b.T, err)
	return j
}

func always(kind kafka.OutcomeKind) func(string, bool) kafka.OutcomeKind {
	return func(string, bool) kafka.OutcomeKind { return kind }
}

var ofPoints = store.Selection{Filter: &store.Query{Group: "points"}}

func TestARunEmptiesItsCause(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		ids := b.kill(40)
		g := &group{bundle: b, judge: func(l string, _ bool) kafka.OutcomeKind {
			if l == ids[3] {
				return kafka.AlreadyApplied
			}
			return kafka.Applied
		}}
		j := g.until(b.create(replay.Run, ofPoints).ID, isDone)
		if j.Counts[replay.Applied] != 39 || j.Counts[replay.AlreadyApplied] != 1 || j.EndedMS == 0 {
			t.Errorf("ended at %d with %v", j.EndedMS, j.Counts)
		}
		b.counts(map[string]int64{"order <n> is odd": 0})
		if n := len(b.all(store.Query{State: letter.Applied})); n != 40 {
			t.Errorf("%d letters are applied, want 40", n)
		}
		for _, r := range g.sent {
			if r.Topic != "replay-points" || string(r.Key) != "k" || string(r.Value) != "v" || r.Header("ce_type") == "" || r.Header("dlq-group") != "" {
				t.Fatalf("sent %+v", r)
			}
		}
		if r := g.sent[0]; len(g.sent) != 40 || !strings.HasPrefix(r.Header("ce_id"), "e-") || r.Header("replay-letter") != ids[0] || r.Header("dlq-topic") != "order_created" {
			t.Errorf("sent %d records, the first %v", len(g.sent), r.Headers)
		}
		again, err := b.CreateJob(b.Context(), order(replay.Run), store.Selection{IDs: ids[:2]}, drive.Groups)
		must(t, err)
		if again.State != replay.Done || again.Counts[replay.Skipped] != 2 || b.all(store.Query{})[0].State != letter.Applied {
			t.Errorf("replayed what is applied: %s with %v", again.State, again.Counts)
		}
	})
}

func TestARehearsalChangesNoLetter(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		ids := b.kill(10)
		g := &group{bundle: b, judge: func(l string, dry bool) kafka.OutcomeKind {
			switch {
			case !dry:
				t.Error("a rehearsal was sent as a run")
			case l == ids[2]:
				return kafka.FailedAgain
			case l == ids[3]:
				return ""
			}
			return kafka.Applied
		}}
		j := g.until(b.create(replay.Rehearse, ofPoints).ID, isDone)
		if j.Counts[replay.Applied] != 8 || j.Counts[replay.FailedAgain] != 1 || j.Counts[replay.NoAnswer] != 1 {
			t.Errorf("ended with %v", j.Counts)
		}
		if all := g.every(j.ID); all[2].Error != "again" || !strings.Contains(all[3].Error, "did not answer") || all[3].Asks != 1 {
			t.Errorf("answers are %+v", all[2:4])
		}
		b.counts(map[string]int64{"order <n> is odd": 10})
		if l := b.all(store.Query{})[0]; l.Deaths != 1 {
			t.Errorf("a rehearsal killed a letter: %+v", l)
		}
	})
}

func TestTooManyFailuresPauseARunAndResumeGoesOn(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		b.kill(60)
		g := &group{bundle: b, judge: always(kafka.FailedAgain)}
		j := g.until(b.create(replay.Run, ofPoints).ID, isPaused)
		if n := j.Counts[replay.FailedAgain]; n != 3 || !strings.Contains(j.Why, "3 of 3") {
			t.Errorf("paused after %d failures: %s", n, j.Why)
		}
		b.counts(map[string]int64{"order <n> is odd": 57, "again": 3})
		g.judge = always(kafka.Applied)
		_, err := b.Act(b.Context(), j.ID, replay.Resume, "ann", "mended now")
		must(t, err)
		if j = g.until(j.ID, isDone); j.Counts[replay.Applied] != 57 || j.Counts[replay.FailedAgain] != 3 {
			t.Errorf("ended with %v", j.Counts)
		}
		if n := len(b.all(store.Query{State: letter.Dead})); n != 3 {
			t.Errorf("%d letters are dead, want the 3 that failed again", n)
		}
	})
}

// One letter in ten fails again: the run pauses within one batch of passing its budget.
func TestOneInTenPassesTheBudget(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		ids := b.kill(300)
		number := map[string]int{}
		for i, id := range ids {
			number[id] = i
		}
		g := &group{bundle: b, judge: func(l string, _ bool) kafka.OutcomeKind {
			if number[l]%10 == 9 {
				return kafka.FailedAgain
			}
			return kafka.Applied
		}}
		j := g.until(b.create(replay.Run, ofPoints).ID, isPaused)
		// The third failure is the thirtieth letter, in the batch of 20 that begins with the nineteenth.
		if failed, answered := j.Counts[replay.FailedAgain], j.Counts.Answered(); failed < replay.Least || answered > 38 || j.Counts[replay.Sent] != 0 {
			t.Errorf("paused after %d failures in %d answers, %d unanswered: %s", failed, answered, j.Counts[replay.Sent], j.Why)
		}
	})
}

func TestSilenceIsAskedAgainAndThenPauses(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		b.kill(2)
		g := &group{bundle: b, judge: always("")}
		j := g.until(b.create(replay.Run, ofPoints).ID, isPaused)
		if len(g.sent) != 3 || j.Counts[replay.Sent] != 1 || !strings.Contains(j.Why, "group points gave no answer") {
			t.Errorf("asked %d times, then %q with %v", len(g.sent), j.Why, j.Counts)
		}
		g.tell(answer(g.sent[0], kafka.Applied)) // an answer that comes late still counts
		g.judge = always(kafka.Applied)
		_, err := b.Act(b.Context(), j.ID, replay.Resume, "ann", "")
		must(t, err)
		if j = g.until(j.ID, isDone); j.Counts[replay.Applied] != 2 {
			t.Errorf("ended with %v", j.Counts)
		}
		g.tell(answer(g.sent[1], kafka.AlreadyApplied), answer(g.sent[1], kafka.FailedAgain))
		if again := g.round(j.ID); again.Counts[replay.Applied] != 2 {
			t.Errorf("answers to earlier asks changed the counts: %v", again.Counts)
		}
	})
}

func TestAFailureThatAnEarlierAskFollowsIsOvertaken(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		b.kill(1)
		g := &group{bundle: b, judge: always(kafka.FailedAgain)}
		j := g.until(b.create(replay.Run, ofPoints).ID, isDone)
		b.counts(map[string]int64{"again": 1})
		g.tell(answer(g.sent[0], kafka.Applied)) // asked twice, and the second time it worked
		if j = g.round(j.ID); j.Counts[replay.Applied] != 1 || j.Counts[replay.FailedAgain] != 0 {
			t.Errorf("counts are %v", j.Counts)
		}
		b.counts(map[string]int64{"again": 0})
	})
}

func TestCancelStopsAndStillHears(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		b.kill(30)
		g := &group{bundle: b, judge: always("")}
		id := b.create(replay.Run, ofPoints).ID
		g.until(id, func(j replay.Job) bool { return j.Counts[replay.Sent] == 1 })
		j, err := b.Act(b.Context(), id, replay.Cancel, "ann", "wrong letters")
		must(t, err)
		if j.State != replay.Cancelled || j.Counts[replay.NotSent] != 29 {
			t.Errorf("cancelled: %s with %v", j.State, j.Counts)
		}
		g.tell(answer(g.sent[0], kafka.Applied))
		if j = g.round(id); j.State != replay.Cancelled || j.Counts[replay.Applied] != 1 || j.EndedMS == 0 || len(g.sent) != 1 {
			t.Errorf("after the answer: %s with %v, %d sent", j.State, j.Counts, len(g.sent))
		}
		if _, err := b.Act(b.Context(), id, replay.Resume, "ann", ""); !errors.Is(err, replay.ErrIllegal) {
			t.Errorf("resumed: %v", err)
		}
		if second := b.create(replay.Run, ofPoints); second.Counts[replay.Waiting] != 29 {
			t.Errorf("what was not sent is not free again: %v", second.Counts)
		}
	})
}

func TestALetterIsInOneRunningJob(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		b.kill(5)
		first := b.create(replay.Run, ofPoints)
		second := b.create(replay.Run, ofPoints)
		if second.State != replay.Done || second.Counts[replay.Skipped] != 5 {
			t.Errorf("second job is %s with %v", second.State, second.Counts)
		}
		all, err := b.JobLetters(b.Context(), second.ID, replay.Skipped, 0, 10)
		must(t, err)
		if want := "job " + first.ID + " has it"; all[0].Error != want {
			t.Errorf("skipped because %q, want %q", all[0].Error, want)
		}
		if rehearsal := b.create(replay.Rehearse, ofPoints); rehearsal.Counts[replay.Waiting] != 5 {
			t.Errorf("a rehearsal beside a run: %v", rehearsal.Counts)
		}
	})
}

func TestWhatCannotBeSentIsSkipped(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		b.collect(dead("strangers", "e-1", 1, 1000, "failed", "x"), dead("", "e-2", 2, 1000, "failed", "x"))
		j := b.create(replay.Run, store.Selection{Filter: &store.Query{}})
		if j.State != replay.Done || j.Counts[replay.Skipped] != 2 {
			t.Errorf("job is %s with %v", j.State, j.Counts)
		}
		for _, sel := range []store.Selection{{IDs: []string{"none"}}, {Filter: &store.Query{Group: "nobody"}}} {
			if _, err := b.CreateJob(b.Context(), order(replay.Run), sel, drive.Groups); !errors.Is(err, store.ErrNothing) {
				t.Errorf("selected nothing: %v", err)
			}
		}
		if jobs, err := b.Jobs(b.Context(), "", "", 10); err != nil || len(jobs) != 1 {
			t.Errorf("a refused job stays: %v, %v", jobs, err)
		}
	})
}

func TestMendedLettersAreRehearsedFirst(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		ids := b.kill(2)
		mend := func(value string) store.Mended {
			done, err := b.Mend(b.Context(), store.Selection{IDs: ids[:1]}, "edit", "ann", "typing error", func(letter.Letter) ([]byte, error) {
				return []byte(value), nil
			})
			must(t, err)
			return done
		}
		if done := mend("better"); done.Mended != 1 {
			t.Fatalf("mended %+v", done)
		}
		if done := mend("better"); done.Unchanged != 1 {
			t.Errorf("mended again %+v", done)
		}
		g := &group{bundle: b, judge: always(kafka.Applied)}
		if j := b.create(replay.Run, store.Selection{IDs: ids[:1]}); j.Counts[replay.Skipped] != 1 || !strings.Contains(g.every(j.ID)[0].Error, "rehearse it first") {
			t.Errorf("ran what was never rehearsed: %v", j.Counts)
		}
		g.until(b.create(replay.Rehearse, store.Selection{IDs: ids[:1]}).ID, isDone)
		done, err := b.Original(b.Context(), ids[0], "ann", "it was right")
		must(t, err)
		if done.Mended != 1 {
			t.Errorf("original brought back: %+v", done)
		}
		if j := b.create(replay.Run, store.Selection{IDs: ids[:1]}); j.Counts[replay.Skipped] != 1 {
			t.Errorf("ran a revision that was never rehearsed: %v", j.Counts)
		}
		g.until(b.create(replay.Rehearse, store.Selection{IDs: ids[:1]}).ID, isDone)
		run := b.create(replay.Run, store.Selection{IDs: ids})
		if done, err := b.Mend(b.Context(), store.Selection{IDs: ids[:1]}, "edit", "ann", "late", func(letter.Letter) ([]byte, error) { return nil, nil }); err != nil || len(done.Refused) != 1 {
			t.Errorf("mended under a running job: %+v, %v", done, err)
		}
		if j := g.until(run.ID, isDone); j.Counts[replay.Applied] != 2 {
			t.Errorf("ended with %v", j.Counts)
		}
		edits, err := b.Edits(b.Context(), ids[0])
		must(t, err)
		if len(edits) != 2 || string(edits[1].Before) != "v" || string(edits[1].After) != "better" || string(edits[0].After) != "v" || edits[0].Who != "ann" {
			t.Errorf("edits are %+v", edits)
		}
		if got := string(g.sent[0].Value); got != "better" {
			t.Errorf("sent %q", got)
		}
	})
}

func TestFates(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		ids := b.kill(6)
		decide := func(fate string, sel store.Selection, want int) {
			t.Helper()
			n, err := b.Decide(b.Context(), fate, sel, "ann", "because")
			must(t, err)
			if n != want {
				t.Errorf("%s moved %d letters, want %d", fate, n, want)
			}
		}
		decide("quarantine", store.Selection{IDs: ids[:2]}, 2)
		decide("discard", store.Selection{IDs: ids[1:3]}, 2)
		decide("discard", store.Selection{IDs: ids[1:3]}, 0)
		b.counts(map[string]int64{"order <n> is odd": 3})
		if j := b.create(replay.Rehearse, ofPoints); j.Counts.Total() != 3 {
			t.Errorf("a filter finds %v, want the 3 that are dead", j.Counts)
		}
		decide("restore", store.Selection{IDs: ids}, 3)
		b.counts(map[string]int64{"order <n> is odd": 6})
		b.create(replay.Run, store.Selection{IDs: ids[:1]})
		decide("discard", ofPoints, 5) // a running job has one
		b.collect(dead("points", "e-1", 1, 9000, "failed", "order 17 is odd"))
		b.counts(map[string]int64{"order <n> is odd": 2}) // what dies again is dead again
	})
}

func TestTheAuditFindsTampering(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		ids := b.kill(3)
		for _, id := range ids {
			_, err := b.Decide(b.Context(), "discard", store.Selection{IDs: []string{id}}, "ann", "because")
			must(t, err)
		}
		verify := func() store.Verdict {
			t.Helper()
			v, err := b.VerifyAudit(b.Context())
			must(t, err)
			return v
		}
		if v := verify(); v.Broken != "" || v.Entries != 3 {
			t.Fatalf("an untouched audit: %+v", v)
		}
		for _, attack := range []string{`UPDATE audit SET who = 'eve' WHERE n = 2`, `DELETE FROM audit WHERE n = 2`} {
			if _, err := b.DB.ExecContext(b.Context(), attack); err == nil || !strings.Contains(err.Error(), "appended only") {
				t.Errorf("%s: %v", attack, err)
			}
		}
		drop := []string{"DROP TRIGGER audit_stays ON audit"}
		if b.DB.Dialect == database.SQLite {
			drop = []string{"DROP TRIGGER audit_stays", "DROP TRIGGER audit_keeps"}
		}
		for _, statement := range drop {
			_, err := b.DB.ExecContext(b.Context(), statement)
			must(t, err)
		}
		for _, attack := range []struct{ do, undo, want string }{
			{`UPDATE audit SET who = 'eve' WHERE n = 2`, `UPDATE audit SET who = 'ann' WHERE n = 2`, "entry 2 was changed"},
			{`UPDATE audit SET n = 9 WHERE n = 2`, `UPDATE audit SET n = 2 WHERE n = 9`, "entry 2 is missing"},
			{`UPDATE audit_head SET n = 4`, `UPDATE audit_head SET n = 3`, "there are 3 entries and were 4"},
			{`DELETE FROM audit WHERE n = 3`, ``, "there are 2 entries and were 3"},
		} {
			_, err := b.DB.ExecContext(b.Context(), attack.do)
			must(t, err)
			if v := verify(); v.Broken != attack.want {
				t.Errorf("%s: %q, want %q", attack.do, v.Broken, attack.want)
			}
			if attack.undo != "" {
				_, err := b.DB.ExecContext(b.Context(), attack.undo)
				must(t, err)
			}
		}
	})
}

func TestOldLettersExpire(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		b.kill(3)
		b.collect(dead("points", "young", 99, time.Now().UnixMilli(), "failed", "order 17 is odd"))
		if n, err := b.Expiring(b.Context(), 1000*time.Hour, time.Hour); err != nil || n != 3 {
			t.Errorf("%d letters expire soon: %v", n, err)
		}
		b.create(replay.Run, store.Selection{IDs: []string{b.all(store.Query{})[1].ID}})
		if n, err := b.Expire(b.Context(), 1000*time.Hour); err != nil || n != 2 {
			t.Errorf("%d letters expired: %v", n, err)
		}
		b.counts(map[string]int64{"order <n> is odd": 2}) // the young one, and one that a job has
	})
}

// TestOldMinutesGoThoughNoLetterDoes: the minutes of causes would else grow until the first letter is old enough to go.
func TestOldMinutesGoThoughNoLetterDoes(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		b.kill(1) // long ago
		b.collect(dead("points", "young", 99, time.Now().UnixMilli(), "failed", "order 17 is odd"))
		if n, err := b.Expire(b.Context(), 1_000_000*time.Hour); err != nil || n != 0 {
			t.Errorf("%d letters expired: %v", n, err)
		}
		var minutes int
		must(b.T, b.DB.QueryRowContext(b.Context(), `SELECT count(*) FROM cause_minutes`).Scan(&minutes))
		if minutes != 1 {
			t.Errorf("%d minutes are kept, want that of the young letter", minutes)
		}
	})
}

func TestNoiseOnTheOutcomesTopicIsPassedOver(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		must(t, b.DB.Tx(b.Context(), func(tx *database.Tx) error {
			changed, err := handle(context.WithoutCancel(b.Context()), tx, []kafka.Record{
				{Topic: kafka.ReplayOutcomes, Value: []byte("noise")},
				answer(kafka.Record{Headers: []kafka.Header{header("replay-job", "none"), header("replay-letter", "none")}}, kafka.Applied),
			})
			if fmt.Sprint(changed) != "[false false]" {
				t.Errorf("noise changed something: %v", changed)
			}
			return err
		}))
	})
}
