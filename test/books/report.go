package books

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Line is one book: two sums that must agree for every key.
type Line struct {
	Name  string // what is counted, per what
	Left  Side
	Right Side
}

// Side is one side of a book, key by key.
type Side struct {
	Name string
	Of   map[string]int64
}

func (s Side) sum() int64 {
	var sum int64
	for _, n := range s.Of {
		sum += n
	}
	return sum
}

// off lists the keys where the sides differ, sorted.
func (l Line) off() []string {
	keys := maps.Clone(l.Left.Of)
	if keys == nil {
		keys = map[string]int64{}
	}
	maps.Copy(keys, l.Right.Of)
	var off []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if l.Left.Of[key] != l.Right.Of[key] {
			off = append(off, key)
		}
	}
	return off
}

// Balanced says that both sides agree for every key.
func (l Line) Balanced() bool { return len(l.off()) == 0 }

// shown bounds how many keys that are off a line names.
const shown = 5

func (l Line) String() string {
	off := l.off()
	verdict := "ok "
	if len(off) > 0 {
		verdict = "OFF"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-34s %s %d = %d %s", verdict, l.Name, l.Left.Name, l.Left.sum(), l.Right.sum(), l.Right.Name)
	for _, key := range off[:min(len(off), shown)] {
		fmt.Fprintf(&b, "; %s: %d and %d", key, l.Left.Of[key], l.Right.Of[key])
	}
	if more := len(off) - shown; more > 0 {
		fmt.Fprintf(&b, "; and %d more", more)
	}
	return b.String()
}

// Report is every book at one quiet moment.
type Report struct{ Lines []Line }

// Balanced says that every book balances.
func (r Report) Balanced() bool {
	return !slices.ContainsFunc(r.Lines, func(l Line) bool { return !l.Balanced() })
}

func (r Report) String() string {
	var b strings.Builder
	for _, l := range r.Lines {
		fmt.Fprintln(&b, l)
	}
	return b.String()
}
