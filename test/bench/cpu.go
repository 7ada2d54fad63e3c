package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the kernel's counters; Linux shows them at 100 a second on every machine.
const tick = 10 * time.Millisecond

// process is what the kernel says of one.
type process struct {
	parent int
	own    time.Duration // it and its ended children
}

// census is every process that lives at one moment.
type census map[int]process

func processes() census {
	all := census{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it ended meanwhile; its parent counts it
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		f := strings.Fields(rest) // from the state on: field 3 of proc(5)
		if len(f) < 15 {
			continue
		}
		p := process{}
		p.parent, _ = strconv.Atoi(f[1])
		for _, field := range f[11:15] { // utime, stime, cutime, cstime
			n, _ := strconv.ParseInt(field, 10, 64)
			p.own += time.Duration(n) * tick
		}
		all[pid] = p
	}
	return all
}

// tree is the time that a process and its children, living and ended, have spent on processors.
func (c census) tree(root int) time.Duration {
	var sum time.Duration
	for pid := range c {
		if c.descends(pid, root) {
			sum += c[pid].own
		}
	}
	return sum
}

func (c census) descends(pid, root int) bool {
	for pid != root {
		p, known := c[pid]
		if !known || p.parent == 0 {
			return false
		}
		pid = p.parent
	}
	return true
}

// cpu is tree now.
func cpu(pid int) time.Duration { return processes().tree(pid) }

// alone is the time that a process and its ended children have spent, without those that live.
func alone(pid int) time.Duration { return processes()[pid].own }

// memory is what the kernel says of a process's memory in MB: resident now, and the most there ever was.
func memory(pid int) (now, most float64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		var kB float64
		if _, err := fmt.Sscan(rest, &kB); err != nil {
			continue
		}
		switch name {
		case "VmRSS":
			now = kB / 1000
		case "VmHWM":
			most = kB / 1000
		}
	}
	return now, most
}
