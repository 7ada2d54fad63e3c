package faults_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/proto/event"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	"github.com/floodgate-dev/floodgate/test/suite"
)

// job is what dlq-replayer says of one.
type job struct {
	ID, Mode, State, Why string
	Total                int
	Counts               map[string]int
}

func (j job) open() bool { return j.Counts["waiting"]+j.Counts["sent"] > 0 }

// begun is how many letters are not waiting any more. What became of them is heard later, after a kill of many at once.
func (j job) begun() int {
	n := -j.Counts["waiting"]
	for _, of := range j.Counts {
		n += of
	}
	return n
}

// replayer is an operator at dlq-replayer's door.
type replayer struct {
	*testing.T
	*suite.Suite
	suite.Client
}

func replays(t *testing.T, s *suite.Suite) replayer {
	t.Helper()
	return replayer{t, s, suite.Client{Base: "http://" + s.Part("dlq-replayer", 0).Addr, Token: suite.Token(t, "oper", "operator")}}
}

// patience is how long nothing may move before a test gives up: a busy machine is slow, but it is never still.
const patience = time.Minute

// dead waits until the group has n dead letters.
func (r replayer) dead(group string, n int) {
	r.Helper()
	suite.WaitMoving(r.T, patience, func() (string, error) {
		causes := r.causes(group)
		held := 0
		for _, c := range causes {
			held += c
		}
		if held != n {
			return fmt.Sprint(held), fmt.Errorf("%d letters of %s are dead, want %d", held, group, n)
		}
		return "", nil
	})
}

// causes are the dead letters of a group by cause.
func (r replayer) causes(group string) map[string]int {
	r.Helper()
	var in struct {
		Causes []struct {
			Group, Message string
			Dead           int
		}
	}
	r.read("/causes", &in)
	all := map[string]int{}
	for _, c := range in.Causes {
		if c.Group == group {
			all[c.Message] = c.Dead
		}
	}
	return all
}

func (r replayer) read(path string, into any) {
	r.Helper()
	a := r.Must(r.T, http.StatusOK, http.MethodGet, path, nil)
	if err := json.Unmarshal(a.Body, into); err != nil {
		r.Fatalf("%s: %v in %s", path, err, a.Body)
	}
}

func (r replayer) start(mode, group string, rate int) (j job) {
	r.Helper()
	a := r.Must(r.T, http.StatusCreated, http.MethodPost, "/jobs", map[string]any{
		"mode": mode, "reason": "a test", "rate": rate, "selection": map[string]any{"filter": map[string]string{"group": group}},
	})
	if err := json.Unmarshal(a.Body, &j); err != nil {
		r.Fatal(err)
	}
	return j
}

// await waits for what holds says of a job, as long as its letters move. It asks again while the replayer is away.
func (r replayer) await(id string, holds func(j job) bool) (j job) {
	r.Helper()
	suite.WaitMoving(r.T, patience, func() (string, error) {
		a, err := r.Do(r.Context(), http.MethodGet, "/jobs/"+id, nil)
		if err != nil {
			return "", err
		}
		j = job{}
		if err := json.Unmarshal(a.Body, &j); err != nil || a.Status != http.StatusOK {
			return "", fmt.Errorf("answered %v", a)
		}
		total := 0
		for _, n := range j.Counts {
			total += n
		}
		if total != j.Total {
			r.Fatalf("counts %v add up to %d of %d", j.Counts, total, j.Total)
		}
		if !holds(j) {
			return fmt.Sprint(j.Counts), fmt.Errorf("job is %s (%s) with %v", j.State, j.Why, j.Counts)
		}
		return "", nil
	})
	return j
}

// watched awaits as an operator does. An answer that a kill delayed is asked for again; silence at last pauses the job, and
// the operator resumes it.
func (r replayer) watched(id string, holds func(j job) bool) job {
	r.Helper()
	return r.await(id, func(j job) bool {
		if j.State == "paused" {
			r.Must(r.T, http.StatusOK, http.MethodPost, "/jobs/"+id+"/resume", nil)
		}
		return holds(j)
	})
}

// giveUp writes n letters of the group points about n orders of the user, as its consumer would have written them, each of
// one of five causes. Nothing hinders their being applied now.
func giveUp(t *testing.T, s *suite.Suite, user string, n int) {
	t.Helper()
	s.Part("order-api", 0).Stop() // it knows none of these orders, and would give up what points says of them
	causes := []string{"ledger is closed", "user is unknown", "rate is missing", "clock is wrong", "disk is full"}
	var letters []kafka.Message
	for i := range n {
		id := uuid.Must(uuid.NewV7()).String()
		paid := &orderv1.OrderStatusChanged{
			OrderId: id, From: orderv1.OrderStatus_ORDER_STATUS_CREATED, To: orderv1.OrderStatus_ORDER_STATUS_PAID,
			Order: &orderv1.Order{Id: id, UserId: user, Status: orderv1.OrderStatus_ORDER_STATUS_PAID, TotalCents: 100, Currency: "EUR"},
		}
		value, err := proto.Marshal(paid)
		if err != nil {
			t.Fatal(err)
		}
		h := func(key, value string) kafka.Header { return kafka.Header{Key: key, Value: []byte(value)} }
		letters = append(letters, kafka.Message{Key: []byte(id), Value: value, Headers: []kafka.Header{
			h("ce_id", "paid/"+id), h("ce_type", event.Type(paid)), h("ce_source", "test"), h("dlq-group", event.Points),
			h("dlq-topic", event.OrderStatusChanges), h("dlq-partition", "0"), h("dlq-offset", fmt.Sprint(i)), h("dlq-attempts", "3"),
			h("dlq-first-failed-at", fmt.Sprint(time.Now().UnixMilli())), h("dlq-last-failed-at", fmt.Sprint(time.Now().UnixMilli())),
			h("dlq-error-kind", "failed"), h("dlq-error", fmt.Sprintf("order %s: %s at %d", id, causes[i%5], i)),
		}})
	}
	s.Publish("dlq-orders-v1", letters...)
}

// rewarded is how many orders of the user points gave points for, and how many in all.
func rewarded(t *testing.T, s *suite.Suite, user string) (entries, points int) {
	t.Helper()
	err := s.Database(t, "points").QueryRowContext(t.Context(), `SELECT count(*), coalesce(sum(points), 0) FROM ledger WHERE user_id = $1`,
		user).Scan(&entries, &points)
	if err != nil {
		t.Fatal(err)
	}
	return entries, points
}

// TestReplaysSurviveKills is promise 13: letters of five causes are rehearsed and replayed while the replayer and the group
// are killed at random; each is applied once, each outcome is recorded, the counts add up, and no other group hears of it.
func TestReplaysSurviveKills(t *testing.T) {
	t.Parallel()
	const letters = 10_000
	s := suite.Start(t, suite.Config{Env: []string{"DLQ_REPLAYER_ANSWER_TIMEOUT=8s"}})
	r := replays(t, s)
	giveUp(t, s, "ann", letters)
	r.dead(event.Points, letters)
	if causes := r.causes(event.Points); len(causes) != 5 || causes["order <id>: disk is full at <n>"] != letters/5 {
		t.Errorf("causes are %v, want five of %d letters each", causes, letters/5)
	}
	// A busy group's answers may be late, and count all the same.
	r.await(r.start("rehearse", event.Points, 5000).ID, func(j job) bool { return j.Counts["applied"] == letters })
	if n, _ := rewarded(t, s, "ann"); n != 0 {
		t.Fatalf("the rehearsal gave points for %d orders", n)
	}
	run := r.start("run", event.Points, 5000/servertest.Rounds(5)) // slow enough that all kills come while it runs
	watched := func(holds func(j job) bool) job { return r.watched(run.ID, holds) }
	for kill := range servertest.Rounds(5) {
		done := letters / (servertest.Rounds(5) + 1) * (kill + 1)
		j := watched(func(j job) bool { return j.begun() >= done || !j.open() })
		if !j.open() {
			t.Fatalf("the job ended after %d kills: the run is void", kill)
		}
		victim := s.Part([]string{"dlq-replayer", event.Points}[kill%2], 0)
		victim.Kill()
		<-time.After(time.Duration(rand.IntN(500)) * time.Millisecond)
		victim.Restart()
	}
	j := watched(func(j job) bool { return !j.open() })
	if j.State != "done" || j.Counts["applied"]+j.Counts["already-applied"] != letters {
		t.Errorf("the job is %s with %v", j.State, j.Counts)
	}
	if entries, points := rewarded(t, s, "ann"); entries != letters || points != letters {
		t.Errorf("%d orders gave %d points, want %d and %d", entries, points, letters, letters)
	}
	for _, other := range []string{event.Inventory, event.Logistics, event.OrderAPI, event.OrderStateCheck} {
		if got := len(s.Records("replay-" + other)); got > 0 {
			t.Errorf("group %s was sent %d records", other, got)
		}
	}
	if left := r.causes(event.Points); len(left) != 0 {
		t.Errorf("causes that are left: %v", left)
	}
	t.Logf("%d letters, %v", letters, j.Counts)
}

// TestTwoReplayersDriveOneJob has two replicas of the replayer on one database, kills one of them and then both while a run
// is on: each letter is applied once, and the counts add up whoever is asked.
func TestTwoReplayersDriveOneJob(t *testing.T) {
	t.Parallel()
	const letters = 2000
	s := suite.Start(t, suite.Config{Env: []string{"DLQ_REPLAYER_ANSWER_TIMEOUT=8s"}, Replicas: map[string]int{"dlq-replayer": 2}})
	r := replays(t, s)
	giveUp(t, s, "two", letters)
	r.dead(event.Points, letters)
	run := r.start("run", event.Points, 300)
	for kill, victims := range [][]int{{1}, {0}, {0, 1}, {1, 0}} {
		if j := r.watched(run.ID, func(j job) bool { return j.begun() >= (kill+1)*letters/6 || !j.open() }); !j.open() {
			t.Fatalf("the job ended after %d kills: the run is void", kill)
		}
		for _, k := range victims {
			s.Part("dlq-replayer", k).Kill()
		}
		<-time.After(time.Duration(rand.IntN(500)) * time.Millisecond)
		for _, k := range victims {
			s.Part("dlq-replayer", k).Restart()
		}
	}
	j := r.watched(run.ID, func(j job) bool { return !j.open() })
	if j.State != "done" || j.Counts["applied"]+j.Counts["already-applied"] != letters {
		t.Errorf("the job is %s with %v", j.State, j.Counts)
	}
	if entries, points := rewarded(t, s, "two"); entries != letters || points != letters {
		t.Errorf("%d orders gave %d points, want %d each", entries, points, letters)
	}
	other := r
	other.Base = "http://" + s.Part("dlq-replayer", 1).Addr
	if seen := other.await(run.ID, func(j job) bool { return true }); seen.State != "done" {
		t.Errorf("the other replayer says %s with %v", seen.State, seen.Counts)
	}
	var verdict struct{ Broken string }
	r.read("/audit/verify", &verdict)
	if verdict.Broken != "" {
		t.Error(verdict.Broken)
	}
}

// TestOneLetterAskedForManyTimes replays the same letters from several jobs at once while their events are sent again by
// somebody: one effect each.
func TestOneLetterAskedForManyTimes(t *testing.T) {
	t.Parallel()
	s := suite.Start(t, suite.Config{})
	r := replays(t, s)
	letters := servertest.Rounds(200)
	giveUp(t, s, "bob", letters)
	r.dead(event.Points, letters)
	var again []kafka.Message
	for _, m := range s.AwaitRecords("dlq-orders-v1", letters) {
		var own []kafka.Header
		for _, h := range m.Headers {
			if h.Key == "ce_id" || h.Key == "ce_type" || h.Key == "ce_source" {
				own = append(own, h)
			}
		}
		again = append(again, kafka.Message{Key: m.Key, Value: m.Value, Headers: own})
	}
	jobs := []job{r.start("run", event.Points, 500), r.start("run", event.Points, 500), r.start("rehearse", event.Points, 500)}
	s.Publish(event.OrderStatusChanges, again...)
	outcomes := map[string]int{}
	for _, one := range jobs[:2] {
		j := r.await(one.ID, func(j job) bool { return !j.open() })
		for outcome, n := range j.Counts {
			outcomes[outcome] += n
		}
	}
	if outcomes["applied"]+outcomes["already-applied"] != letters || outcomes["skipped"] != letters {
		t.Errorf("two jobs came to %v", outcomes)
	}
	if entries, points := rewarded(t, s, "bob"); entries != letters || points != letters {
		t.Errorf("%d orders gave %d points, want %d each", entries, points, letters)
	}
	var verdict struct{ Broken string }
	r.read("/audit/verify", &verdict)
	if verdict.Broken != "" {
		t.Error(verdict.Broken)
	}
}

// TestTheRateIsKeptAndCancelStops measures what the group receives.
func TestTheRateIsKeptAndCancelStops(t *testing.T) {
	t.Parallel()
	s := suite.Start(t, suite.Config{})
	r := replays(t, s)
	const letters, rate = 8000, 100
	giveUp(t, s, "cay", letters)
	r.dead(event.Points, letters)
	id := r.start("run", event.Points, rate).ID
	answered := func(j job) int { return j.Counts["applied"] + j.Counts["already-applied"] }
	r.await(id, func(j job) bool { return answered(j) >= 2*rate }) // past the ramp
	// Never faster than asked; and as fast in one of five looks, for a machine that does much else may hold some up.
	best := 0.0
	for range 5 {
		from := r.await(id, func(job) bool { return true })
		began := time.Now()
		<-time.After(10 * time.Second)
		to := r.await(id, func(job) bool { return true })
		sent := float64(answered(to) + to.Counts["sent"] - answered(from) - from.Counts["sent"])
		if best = max(best, sent/time.Since(began).Seconds()); best > 0.9*rate {
			break
		}
	}
	if best < 0.9*rate || best > 1.1*rate {
		t.Errorf("%.1f letters a second, want %d ±10 %%", best, rate)
	}
	var cancelled job
	a := r.Must(t, http.StatusOK, http.MethodPost, "/jobs/"+id+"/cancel", map[string]string{"reason": "enough"})
	if err := json.Unmarshal(a.Body, &cancelled); err != nil {
		t.Fatal(err)
	}
	<-time.After(time.Second)
	within := len(s.Records("replay-" + event.Points)) // a second after the cancel
	stopped := r.await(id, func(j job) bool { return !j.open() })
	<-time.After(2 * time.Second)
	entries, _ := rewarded(t, s, "cay")
	if stopped.State != "cancelled" || stopped.Counts["not-sent"] == 0 || entries != answered(stopped) {
		t.Errorf("cancelled with %v, and %d letters were applied", stopped.Counts, entries)
	}
	if cancelled.Counts["waiting"] != 0 || stopped.Counts["not-sent"] != cancelled.Counts["not-sent"] {
		t.Errorf("the cancel answered %v, and in the end there were %v", cancelled.Counts, stopped.Counts)
	}
	if late := len(s.Records("replay-"+event.Points)) - within; late > rate {
		t.Errorf("%d letters were sent later than a second after the cancel, more than one batch", late)
	}
	t.Logf("%.1f letters a second of %d asked for; %d sent when it was cancelled", best, rate, letters-stopped.Counts["not-sent"])
	var page struct{ Letters []struct{ State string } }
	r.read("/letters?"+url.Values{"group": {event.Points}, "state": {"applied"}, "limit": {"500"}}.Encode(), &page)
	if len(page.Letters) == 0 {
		t.Error("no letter is applied")
	}
}
