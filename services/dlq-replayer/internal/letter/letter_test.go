package letter

import (
	"strings"
	"testing"
)

func TestMessagesOfOneCauseAreOne(t *testing.T) {
	t.Parallel()
	for _, same := range [][]string{
		{"move stock: unknown item: tea-1", "move stock: unknown item: tea-99"},
		{"order 01a20ce4-063b-7c3e-9d2a-5f0c8e1b7a64: total 450", "order 01a20CE4-063b-7c3e-9d2a-5f0c8e1b7a65: total -3.5"},
		{"at 2026-11-24T01:02:03Z it was late", "at 2026-11-25 11:02:03.123+01:00 it was late"},
		{`the field "a" is 0x1f`, `the field "bcd" is 0xFF02`},
		{"digest 9f86d081884c7d659a2feaa0c55ad015", "digest 2c26b46b68ffc68ff99b453c1d304134"},
		{"two  words", "two words\n"},
	} {
		if a, b := Cause("g", "k", same[0]), Cause("g", "k", same[1]); a != b {
			t.Errorf("%q and %q have two causes: %q, %q", same[0], same[1], Message(same[0]), Message(same[1]))
		}
	}
	for _, other := range [][2]string{
		{"unknown item", "unknown order"}, {"deadbeef", "cafe"}, {"facade broke", "decade broke"},
	} {
		if Cause("g", "k", other[0]) == Cause("g", "k", other[1]) {
			t.Errorf("%q and %q have one cause", other[0], other[1])
		}
	}
	if Cause("g", "k", "x") == Cause("h", "k", "x") || Cause("g", "k", "x") == Cause("g", "l", "x") {
		t.Error("group and kind do not count")
	}
}

func TestTwoDeathsOfOneEventAreOneLetter(t *testing.T) {
	t.Parallel()
	here, there := Letter{Group: "points", EventID: "e", Topic: "a", Offset: 1}, Letter{Group: "points", EventID: "e", Topic: "b", Offset: 9}
	if Identify(here) != Identify(there) {
		t.Error("an event that died in two places is two letters")
	}
	for name, other := range map[string]Letter{
		"another group":    {Group: "inventory", EventID: "e"},
		"another event":    {Group: "points", EventID: "f"},
		"unreadable bytes": {Group: "points", EventID: "e", Raw: true},
		"no event":         {Group: "points", Topic: "a", Offset: 1},
	} {
		if Identify(other) == Identify(here) {
			t.Errorf("%s is the same letter", name)
		}
	}
	if Identify(Letter{Raw: true, Topic: "a", Partition: 1, Offset: 1}) == Identify(Letter{Raw: true, Topic: "a", Partition: 1, Offset: 2}) {
		t.Error("two places are one letter")
	}
}

func FuzzMessage(f *testing.F) {
	f.Add("order 7 of 2026-01-01T00:00:00Z: \"x\" \xff\x00")
	f.Fuzz(func(t *testing.T, text string) {
		if m := Message(text); m != Message(m) || strings.ContainsAny(m, "\n\t") {
			t.Errorf("%q becomes %q becomes %q", text, m, Message(m))
		}
	})
}
