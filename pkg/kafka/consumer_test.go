package kafka_test

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
)

// each runs a test on real servers and on embedded parts.
func each(t *testing.T, test func(t *testing.T, b *bundle)) {
	t.Helper()
	t.Run("Servers", func(t *testing.T) { t.Parallel(); test(t, setup(t)) })
	t.Run("Embedded", func(t *testing.T) { t.Parallel(); test(t, embedded(t)) })
}

func TestPoisonStandsAloneAndItsNeighboursGoOn(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.fails(func(v string) error {
			switch v {
			case "300":
				return kafka.Undecodable(errors.New("these bytes mean nothing: \x00\xff"))
			case "700":
				return errHurt
			}
			return nil
		})
		messages := numbered(0, 1000)
		messages[300].Headers = append(messages[300].Headers, outbox.Header{Key: "odd", Value: []byte{0, 0xff}})
		b.send(topic, messages...)
		b.start(b.consumer().Run)
		b.awaitSeen(998)

		raw := b.records(kafka.RawErrors, 1)[0]
		if !bytes.Equal(raw.Value, messages[300].Value) || !bytes.Equal(raw.Key, messages[300].Key) || raw.Header("odd") != "\x00\xff" {
			t.Errorf("raw letter %q → %q, headers %v", raw.Key, raw.Value, raw.Headers)
		}
		dead := kafka.ParseDeadLetter(b.records(kafka.DeadLetters, 1)[0])
		if dead.Group != group || dead.Topic != topic || string(dead.Value) != "700" || dead.Attempts != kafka.MaxAttempts ||
			dead.ErrorKind != "failed" || dead.Error != errHurt.Error() || dead.EventID() != "id/700" ||
			dead.FirstFailedMS == 0 || dead.LastFailedMS < dead.FirstFailedMS {
			t.Errorf("dead letter %+v", dead)
		}
		if n := b.count(`SELECT count(*) FROM parked`); n != 0 {
			t.Errorf("%d records are still parked", n)
		}
		b.inOrder()
		b.balance()
	})
}

func TestAParkedRecordIsAppliedWhenItsCauseIsGone(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		var tries atomic.Int64
		b.fails(func(v string) error {
			if v == "3" && tries.Add(1) < kafka.MaxAttempts+1 { // the batch's own try and its bisection count too
				return errHurt
			}
			return nil
		})
		b.send(topic, numbered(3, 1)...)
		b.send(topic, numbered(100, 5)...)
		b.start(b.consumer(func(c *kafka.ConsumerConfig) { c.Handle = b.handle }).Run)
		b.awaitSeen(6)
		b.balance()
	})
}

func TestPermanentIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.fails(func(v string) error {
			if v == "1" {
				return kafka.Permanent("nonsense", errHurt)
			}
			return nil
		})
		b.send(topic, numbered(0, 3)...)
		b.start(b.consumer().Run)
		b.awaitSeen(2)
		dead := kafka.ParseDeadLetter(b.records(kafka.DeadLetters, 1)[0])
		if dead.Attempts != 1 || dead.ErrorKind != "nonsense" {
			t.Errorf("attempts %d, kind %s, want 1 and nonsense", dead.Attempts, dead.ErrorKind)
		}
		b.balance()
	})
}

func TestAPanicIsTheRecordsFault(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fails(func(v string) error {
		if v == "1" {
			panic("at the disco")
		}
		return nil
	})
	b.send(topic, numbered(0, 3)...)
	b.start(b.consumer().Run)
	b.awaitSeen(2)
	if dead := kafka.ParseDeadLetter(b.records(kafka.DeadLetters, 1)[0]); !strings.Contains(dead.Error, "at the disco") {
		t.Errorf("the letter says %q", dead.Error)
	}
}

func TestReplays(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.send(topic, numbered(0, 1)...)
		b.fails(func(v string) error {
			if v == "7" {
				return kafka.Permanent("nonsense", errHurt)
			}
			return nil
		})
		b.start(b.consumer().Run)
		b.awaitSeen(1)
		replayed := func(m outbox.Message, letter string, dry bool) {
			m.Headers = append(m.Headers, kafka.Replay{Job: "job", Letter: letter, Topic: topic, DryRun: dry}.Headers()...)
			b.send(kafka.ReplayTopic(group), m)
		}
		replayed(numbered(0, 1)[0], "known", false)
		replayed(numbered(7, 1)[0], "broken", false)
		replayed(numbered(5, 1)[0], "rehearsed", true)
		b.records(kafka.ReplayOutcomes, 3)
		if n := b.count(`SELECT count(*) FROM seen`); n != 1 {
			t.Errorf("%d effects before the run, want 1: a rehearsal leaves nothing", n)
		}
		replayed(numbered(5, 1)[0], "fresh", false)
		b.awaitSeen(2)
		got := map[string]kafka.Outcome{}
		for _, r := range b.records(kafka.ReplayOutcomes, 4) {
			o, err := kafka.ParseOutcome(r)
			b.must(err)
			got[o.Letter] = o
		}
		for letter, want := range map[string]kafka.OutcomeKind{
			"known": kafka.AlreadyApplied, "broken": kafka.FailedAgain, "rehearsed": kafka.Applied, "fresh": kafka.Applied,
		} {
			if o := got[letter]; o.Kind != want || o.Group != group || o.Job != "job" || o.DryRun != (letter == "rehearsed") {
				t.Errorf("outcome of %s: %+v, want %s", letter, o, want)
			}
		}
		if got["broken"].ErrorKind != "nonsense" || got["broken"].Error != errHurt.Error() {
			t.Errorf("the failed replay says %+v", got["broken"])
		}
		if n := b.count(`SELECT sum(dead) FROM consumer_offsets`); n != 0 {
			t.Errorf("%d replays were dead-lettered", n)
		}
		b.balance()
	})
}
