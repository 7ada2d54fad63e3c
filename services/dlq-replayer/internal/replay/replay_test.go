package replay

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func running(letters, rate int) *Job {
	j := &Job{Mode: Run, State: Running, Rate: rate, Budget: DefaultBudget, Counts: Counts{Waiting: letters}}
	j.Start()
	return j
}

// send moves what Take allows at nowUS.
func (j *Job) send(nowUS int64) int {
	n := j.Take(nowUS)
	for range n {
		j.Move(Waiting, Sent)
	}
	return n
}

func (j *Job) answer(n int, outcome Outcome) {
	for range n {
		j.Move(Sent, outcome)
	}
	j.Settle(1)
}

func TestARunRampsUp(t *testing.T) {
	t.Parallel()
	j := running(1000, 100)
	var batches []int
	now := int64(0)
	for len(batches) < 8 {
		now += 10_000_000
		sent := j.send(now) // what the burst allows at once
		for j.Left > 0 {
			now += 100_000
			sent += j.send(now)
		}
		if more := j.send(now + 10_000_000); j.Batch < 100 && more > 0 {
			t.Fatalf("%d more letters while %d are unanswered", more, j.Counts[Sent])
		}
		batches = append(batches, sent)
		j.answer(j.Counts[Sent], Applied)
	}
	if want := "[1 2 5 10 20 50 100"; !strings.HasPrefix(fmt.Sprint(batches), want) {
		t.Errorf("batches are %v, want %s …]", batches, want)
	}
}

func TestTheRateIsKept(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{1, 3, 50, 999, 5000} {
		j := running(1_000_000, rate)
		j.Batch, j.Left = j.full(), 0
		sent := 0
		for now := int64(50_000); now <= 20_000_000; now += 50_000 {
			sent += j.send(now)
			j.answer(j.Counts[Sent], Applied)
		}
		if want := rate * 20; sent < want*95/100-1 || sent > want*105/100+1 {
			t.Errorf("at %d/s %d letters in 20 s", rate, sent)
		}
	}
}

func TestATinyGapBetweenTicksLosesNothing(t *testing.T) {
	t.Parallel()
	j := running(1000, 3)
	sent := 0
	for now := int64(1000); now <= 10_000_000; now += 1000 {
		sent += j.send(now)
		j.answer(j.Counts[Sent], Applied)
	}
	if sent < 28 || sent > 31 {
		t.Errorf("sent %d letters in 10 s at 3/s", sent)
	}
}

func TestTheBudgetPausesARun(t *testing.T) {
	t.Parallel()
	j := running(1000, 1000)
	j.Counts = Counts{Waiting: 900, Sent: 100}
	j.answer(2, FailedAgain)
	if j.State != Running {
		t.Fatal("two failures are fewer than the least")
	}
	j.answer(57, Applied)
	j.answer(1, FailedAgain)
	if j.State != Running {
		t.Fatal("3 of 60 is 5 %, not more")
	}
	j.answer(1, FailedAgain)
	if j.State != Paused || !strings.Contains(j.Why, "4 of 61") {
		t.Fatalf("4 of 61: %s, %q", j.State, j.Why)
	}
	if j.Take(1<<40) != 0 {
		t.Error("a paused job sends")
	}
	if err := j.Act(Resume); err != nil || j.State != Running || j.Batch != 0 {
		t.Fatalf("resumed: %v, %s, batch %d", err, j.State, j.Batch)
	}
	j.answer(1, FailedAgain)
	if j.State != Running {
		t.Error("after a resume the budget counts anew")
	}
}

func TestARehearsalHasNoBudget(t *testing.T) {
	t.Parallel()
	j := &Job{Mode: Rehearse, State: Running, Rate: 500, Counts: Counts{Waiting: 10, Sent: 100}}
	j.answer(100, FailedAgain)
	if j.State != Running {
		t.Errorf("it is %s", j.State)
	}
}

func TestActions(t *testing.T) {
	t.Parallel()
	legal := map[Action][]State{Stop: {Running}, Resume: {Paused}, Cancel: {Running, Paused}}
	for action, from := range legal {
		for _, state := range []State{Running, Paused, Cancelled, Done} {
			j := &Job{State: state, Mode: Run, Rate: 1, Counts: Counts{}}
			err := j.Act(action)
			if allowed := slices.Contains(from, state); allowed != (err == nil) || !allowed && (!errors.Is(err, ErrIllegal) || j.State != state) {
				t.Errorf("%s of a job that is %s: %v, then %s", action, state, err, j.State)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	good := Job{Mode: Run, Reason: "because", Rate: 1, Budget: 5}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Job){
		"mode": func(j *Job) { j.Mode = "go" }, "reason": func(j *Job) { j.Reason = "" }, "rate": func(j *Job) { j.Rate = 0 },
		"budgetPercent": func(j *Job) { j.Budget = 101 }, "at most": func(j *Job) { j.Reason = strings.Repeat("x", 2001) },
	} {
		j := good
		spoil(&j)
		if err := j.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever happens to a job, its counts add up to its selection, none is negative, what is applied stays so, and it ends
// exactly when nothing is open.
func TestCountsAddUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.IntRange(1, 300).Draw(t, "letters")
		j := running(total, rapid.IntRange(1, 2000).Draw(t, "rate"))
		now := int64(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			applied := j.Counts[Applied] + j.Counts[AlreadyApplied]
			now += rapid.Int64Range(0, 2_000_000).Draw(t, "us")
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				if sent := j.send(now); sent > 0 && j.Counts[Sent] > max(j.Batch, 1) {
					t.Fatalf("%d letters are unanswered, the batch is %d", j.Counts[Sent], j.Batch)
				}
			case 1, 2:
				from, to := rapid.SampledFrom(Outcomes).Draw(t, "from"), rapid.SampledFrom(Outcomes).Draw(t, "to")
				if j.Counts[from] > 0 && to != Sent {
					j.Move(from, to)
				}
				j.Settle(now)
			case 3:
				_ = j.Act(rapid.SampledFrom([]Action{Stop, Resume, Cancel}).Draw(t, "action"))
			case 4:
				j.Settle(now)
			}
			if j.Counts.Total() != total {
				t.Fatalf("counts %v add up to %d of %d", j.Counts, j.Counts.Total(), total)
			}
			for outcome, n := range j.Counts {
				if n < 0 {
					t.Fatalf("%s is %d", outcome, n)
				}
			}
			if j.Counts[Applied]+j.Counts[AlreadyApplied] < applied {
				t.Fatal("what was applied is not any more")
			}
			if j.State == Done && j.Open() > 0 {
				t.Fatalf("done with %v", j.Counts)
			}
		}
	})
}
