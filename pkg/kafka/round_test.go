package kafka

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// awaitWaiting returns when n shares wait for their turn.
func (r *rounds) awaitWaiting(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(time.Millisecond) {
		r.mu.Lock()
		got := len(r.waiting)
		r.mu.Unlock()
		if got == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d shares wait, want %d", got, n)
		}
	}
}

// Who comes while somebody works waits, and the next takes along all that fit, each once.
func TestARoundTakesAllWhoWait(t *testing.T) {
	t.Parallel()
	var r rounds
	var worked [][]int // records of the shares of each round; guarded by the turn
	begun, release := make(chan struct{}), make(chan struct{})
	work := func(all []*share) {
		if len(worked) == 0 {
			close(begun)
			<-release
		}
		var sizes []int
		for _, s := range all {
			if s.over {
				t.Error("a share is worked on twice")
			}
			s.over = true
			sizes = append(sizes, len(s.records))
		}
		slices.Sort(sizes)
		worked = append(worked, sizes)
	}
	var wg sync.WaitGroup
	join := func(records int) {
		wg.Go(func() { r.join(&share{records: make([]Record, records)}, work) })
	}
	join(1)
	<-begun
	const large = roundRecords - 8
	for i, records := range []int{2, 3, 4, large} {
		join(records)
		r.awaitWaiting(t, i+1)
	}
	close(release)
	wg.Wait()
	if len(worked) != 3 || !slices.Equal(worked[0], []int{1}) {
		t.Fatalf("the rounds were %v, want the first alone and the others in two more", worked)
	}
	// Who gets the turn first is the scheduler's choice; either way all are in, and no round is too large.
	var all []int
	for _, sizes := range worked[1:] {
		sum := 0
		for _, n := range sizes {
			sum += n
		}
		if sum > roundRecords {
			t.Errorf("a round has %d records, more than %d", sum, roundRecords)
		}
		all = append(all, sizes...)
	}
	slices.Sort(all)
	if !slices.Equal(all, []int{2, 3, 4, large}) {
		t.Errorf("the rounds took %v", worked)
	}
}
