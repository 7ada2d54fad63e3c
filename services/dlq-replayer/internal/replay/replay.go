// Package replay says how a job sends dead letters back: one first, then more and more, never faster than asked, and not
// on when too many fail again. Its counts always add up to what was selected.
package replay

import (
	"errors"
	"fmt"
)

// Mode is what a job does with its letters.
type Mode string

// The modes of a job.
const (
	Rehearse Mode = "rehearse" // the group's handler runs and is rolled back
	Run      Mode = "run"
)

// State is where a job stands.
type State string

// The states of a job. A job that was cancelled still hears what became of the letters that it had sent.
const (
	Running   State = "running"
	Paused    State = "paused"
	Cancelled State = "cancelled"
	Done      State = "done"
)

// Outcome is what became of one letter in one job.
type Outcome string

// The outcomes. Waiting and Sent are those of a letter that the job is not through with.
const (
	Waiting        Outcome = "waiting"
	Sent           Outcome = "sent"
	Applied        Outcome = "applied"         // of a rehearsal: would be applied
	AlreadyApplied Outcome = "already-applied" // the group had its effects before
	FailedAgain    Outcome = "failed-again"
	NoAnswer       Outcome = "no-answer" // the group said nothing in time
	Skipped        Outcome = "skipped"   // it could not be sent; its error says why
	NotSent        Outcome = "not-sent"  // the job was cancelled before its turn
)

// Outcomes are all of them.
var Outcomes = []Outcome{Waiting, Sent, Applied, AlreadyApplied, FailedAgain, NoAnswer, Skipped, NotSent}

// May says whether a letter may go from one outcome to another. An answer that comes late still counts, and so does one
// to an earlier ask: a letter that failed when it was asked first may have been applied when it was asked again. What is
// applied stays applied.
func May(from, to Outcome) bool {
	switch to {
	case Sent:
		return from == Waiting || from == Sent
	case Applied, AlreadyApplied:
		return from == Sent || from == NoAnswer || from == FailedAgain
	case FailedAgain:
		return from == Sent || from == NoAnswer
	case NoAnswer:
		return from == Sent
	case Skipped:
		return from == Waiting || from == Sent
	case NotSent:
		return from == Waiting
	case Waiting:
	}
	return false
}

// Counts are how many letters of a job have each outcome.
type Counts map[Outcome]int

// Total is how many letters were selected.
func (c Counts) Total() (n int) {
	for _, one := range c {
		n += one
	}
	return n
}

// Answered is how many letters the group said something of.
func (c Counts) Answered() int { return c[Applied] + c[AlreadyApplied] + c[FailedAgain] }

// Job is one selection of letters on its way. Times are by the replayer's database, Next in microseconds, the others in
// milliseconds, since 1970.
type Job struct {
	ID        string
	Mode      Mode
	Selection string // as it was asked for, JSON
	Reason    string
	By        string
	State     State
	Why       string // of a pause

	Rate   int // letters a second, at most
	Budget int // percent of answers that may say "failed again"
	Batch  int // letters of the batch under way
	Left   int // of those, not sent yet
	Next   int64

	Counts         Counts
	AnsweredBefore int // when the job was last resumed: the budget counts from there
	FailedBefore   int

	CreatedMS, EndedMS int64
}

// Limits of what a job may ask for.
const (
	MaxRate     = 10_000
	DefaultRate = 50
	// RehearsalRate is the rate of a rehearsal that names none: it changes nothing, so it need not be careful.
	RehearsalRate = 500
	DefaultBudget = 5
	// Least is how many letters must fail again before the budget may be called passed.
	Least = 3
)

// Check says what is wrong with what was asked; nil when nothing is.
func (j Job) Check() error {
	switch {
	case j.Mode != Rehearse && j.Mode != Run:
		return errors.New("mode is rehearse or run")
	case j.Reason == "":
		return errors.New("say in reason why this is done: the audit keeps it")
	case len(j.Reason) > 2000:
		return errors.New("reason has at most 2,000 bytes")
	case j.Rate < 1 || j.Rate > MaxRate:
		return fmt.Errorf("rate is 1 to %d letters a second", MaxRate)
	case j.Budget < 0 || j.Budget > 100:
		return errors.New("budgetPercent is 0 to 100")
	}
	return nil
}

// ramp are the batches with which a run begins; each is answered before the next is sent.
var ramp = []int{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}

// full is the largest batch: what the rate allows in a second, and no more than a slow group answers in time.
func (j *Job) full() int { return max(1, min(j.Rate, ramp[len(ramp)-1])) }

// Start lets the ramp begin: a run's first batch, of one letter, comes when nothing is unanswered; a rehearsal changes
// nothing and begins at full.
func (j *Job) Start() {
	j.Batch, j.Left = 0, 0
	if j.Mode == Rehearse {
		j.Batch = j.full()
	}
}

// Open is how many letters the job is not through with.
func (j *Job) Open() int { return j.Counts[Waiting] + j.Counts[Sent] }

// burst is for how long the pace may fall behind and catch up.
const burst = 200_000 // microseconds

// Take says how many letters may be sent at nowUS, and reckons them as sent from here on. While the job ramps up a batch
// is answered before the next begins; at full, no more than one batch is unanswered.
func (j *Job) Take(nowUS int64) int {
	if j.State != Running || j.Counts[Waiting] == 0 {
		return 0
	}
	inFlight := j.Counts[Sent]
	if j.Left == 0 && j.Batch < j.full() {
		if inFlight > 0 {
			return 0
		}
		j.Batch = j.following()
		j.Left = j.Batch
	}
	n := j.Left
	if j.Batch >= j.full() {
		n = j.Batch - inFlight
	}
	gap := int64(1_000_000 / j.Rate)
	j.Next = max(j.Next, nowUS-max(burst, gap))
	n = min(n, j.Counts[Waiting], int((nowUS-j.Next)/gap))
	if n <= 0 {
		return 0
	}
	j.Next += int64(n) * gap
	j.Left = max(0, j.Left-n)
	return n
}

// following is the batch after the one under way.
func (j *Job) following() int {
	for _, n := range ramp {
		if n > j.Batch {
			return min(n, j.full())
		}
	}
	return j.full()
}

// Move takes one letter from one outcome to another and keeps the counts; it says whether that may be.
func (j *Job) Move(from, to Outcome) bool {
	if !May(from, to) {
		return false
	}
	j.Counts[from]--
	j.Counts[to]++
	return true
}

// Settle looks at what the counts mean: a run pauses when more failed again than its budget allows, and a job is done when
// nothing is open.
func (j *Job) Settle(nowMS int64) {
	failed, answered := j.Counts[FailedAgain]-j.FailedBefore, j.Counts.Answered()-j.AnsweredBefore
	if j.State == Running && j.Mode == Run && failed >= Least && failed*100 > j.Budget*answered && j.Counts[Waiting] > 0 {
		j.Pause(fmt.Sprintf("%d of %d answers say that the letter failed again; the budget is %d %%", failed, answered, j.Budget))
	}
	if j.Open() > 0 {
		return
	}
	if j.State == Running || j.State == Paused {
		j.State, j.Why = Done, ""
	}
	if j.EndedMS == 0 {
		j.EndedMS = nowMS
	}
}

// Pause stops sending until somebody resumes.
func (j *Job) Pause(why string) { j.State, j.Why = Paused, why }

// ErrIllegal says that a job's state does not allow what was asked.
var ErrIllegal = errors.New("the job's state does not allow this")

// Act does what an operator asks of a job.
func (j *Job) Act(action Action) error {
	switch {
	case action == Stop && j.State == Running:
		j.Pause("somebody asked for it")
	case action == Resume && j.State == Paused:
		j.State, j.Why = Running, ""
		j.FailedBefore, j.AnsweredBefore = j.Counts[FailedAgain], j.Counts.Answered()
		j.Start()
	case action == Cancel && (j.State == Running || j.State == Paused):
		j.State, j.Why = Cancelled, ""
	default:
		return fmt.Errorf("%w: it is %s", ErrIllegal, j.State)
	}
	return nil
}

// Action is what an operator may ask of a job.
type Action string

// The actions.
const (
	Stop   Action = "pause"
	Resume Action = "resume"
	Cancel Action = "cancel"
)
