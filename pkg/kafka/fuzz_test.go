package kafka_test

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/floodgate-dev/floodgate/pkg/kafka"
)

// fits says that s can stand in a text column.
func fits(t *testing.T, texts ...string) {
	t.Helper()
	for _, s := range texts {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) || len(s) > 2<<10 {
			t.Errorf("%.50q (%d bytes) fits no text column", s, len(s))
		}
	}
}

// FuzzParseDeadLetter: anybody may write to a dead-letter topic, and none of it may stop the one who stores letters.
func FuzzParseDeadLetter(f *testing.F) {
	f.Add("things", "3", "1200", "collector", "3", "1767225600000", "failed", "it hurts", "0", []byte("value"))
	f.Add("\x00", "-1", "99999999999999999999", "\xff", "x", "-5", "\x00\xff", strings.Repeat("\xff", 9000), "1e9", []byte{0})
	f.Add("", "4294967296", "", "", "", "", "", "", "", []byte(nil))
	f.Fuzz(func(t *testing.T, topic, partition, offset, group, attempts, at, kind, text, omitted string, value []byte) {
		r := kafka.Record{Topic: kafka.DeadLetters, Partition: 1, Offset: 7, Value: value}
		for _, h := range [][2]string{
			{"dlq-topic", topic},
			{"dlq-partition", partition},
			{"dlq-offset", offset},
			{"dlq-group", group},
			{"dlq-attempts", attempts},
			{"dlq-first-failed-at", at},
			{"dlq-last-failed-at", at},
			{"dlq-error-kind", kind},
			{"dlq-error", text},
			{"dlq-omitted-bytes", omitted},
			{"__dlq.errors.topic", topic},
			{kind, "own"},
		} {
			r.Headers = append(r.Headers, kafka.Header{Key: h[0], Value: []byte(h[1])})
		}
		d := kafka.ParseDeadLetter(r)
		fits(t, d.Topic, d.Group, d.ErrorKind, d.Error)
		for _, n := range []int64{int64(d.Partition), int64(d.Attempts), int64(d.OmittedBytes)} {
			if n < 0 || n > math.MaxInt32 {
				t.Errorf("%d fits no integer column", n)
			}
		}
		if d.Offset < 0 || d.FirstFailedMS < 0 || d.LastFailedMS < 0 {
			t.Errorf("letter %+v", d)
		}
		if d.WithoutOrigins != (topic == "") || d.WithoutOrigins && (d.Topic != r.Topic || d.Offset != r.Offset) {
			t.Errorf("a letter with the topic %q is of %s/%d", topic, d.Topic, d.Offset)
		}
		if string(d.Value) != string(value) {
			t.Errorf("the value is %q, want %q", d.Value, value)
		}
	})
}

func FuzzParseOutcome(f *testing.F) {
	f.Add("job", "letter", "collector", "applied", "true", "", "", "1767225600000")
	f.Add("\x00", "\xff", "", "failed-again", "yes", "failed", strings.Repeat("é", 3000), "-1")
	f.Add("", "", "", "", "", "", "", "")
	f.Fuzz(func(t *testing.T, job, letter, group, kind, dry, errorKind, text, at string) {
		var r kafka.Record
		for _, h := range [][2]string{
			{"replay-job", job},
			{"replay-letter", letter},
			{"dlq-group", group},
			{"replay-outcome", kind},
			{"dry-run", dry},
			{"dlq-error-kind", errorKind},
			{"dlq-error", text},
			{"dlq-last-failed-at", at},
		} {
			r.Headers = append(r.Headers, kafka.Header{Key: h[0], Value: []byte(h[1])})
		}
		o, err := kafka.ParseOutcome(r)
		known := kind == "applied" || kind == "already-applied" || kind == "failed-again"
		if (err == nil) != known {
			t.Errorf("a replay that came to %q: %v", kind, err)
		}
		fits(t, o.Job, o.Letter, o.Group, o.ErrorKind, o.Error)
		if o.AtMS < 0 || known && o.DryRun != (dry == "true") {
			t.Errorf("outcome %+v", o)
		}
	})
}
