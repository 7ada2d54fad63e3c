package telemetry

import (
	"io"
	"sync"
)

// mostWaiting bounds the bytes of the log that wait to be written; beyond it, who logs waits too.
const mostWaiting = 1 << 20

// lines writes what many goroutines log in as few calls as the log's reader lets it: while one call is under way, the
// next lines gather. Nothing waits for a timer, so a lone line is written at once; a process that is killed in that
// moment loses it.
type lines struct {
	to io.Writer

	mu      sync.Mutex
	changed sync.Cond // on mu: there is something to write, or less than there was, or it is over
	waiting []byte
	spare   []byte // the buffer of the call before, to be used again
	writing bool
	closed  bool
	err     error // of the last call that failed, told to the next who logs
}

// newLines returns a writer that works until close.
func newLines(to io.Writer) *lines {
	l := &lines{to: to}
	l.changed.L = &l.mu
	go l.run()
	return l
}

// Write keeps a copy of p. The error is that of an earlier line.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) > mostWaiting && !l.closed {
		l.changed.Wait()
	}
	if l.closed {
		return l.to.Write(p) // late, when nobody gathers any more
	}
	l.waiting = append(l.waiting, p...)
	l.changed.Broadcast()
	err := l.err
	l.err = nil
	return len(p), err
}

func (l *lines) run() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for len(l.waiting) == 0 && !l.closed {
			l.changed.Wait()
		}
		if len(l.waiting) == 0 {
			return
		}
		now := l.waiting
		l.waiting, l.spare, l.writing = l.spare[:0], nil, true
		l.mu.Unlock()
		_, err := l.to.Write(now)
		l.mu.Lock()
		if err != nil {
			l.err = err
		}
		l.spare, l.writing = now, false
		l.changed.Broadcast()
	}
}

// flush returns when all that was logged before is written.
func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) > 0 || l.writing {
		l.changed.Wait()
	}
}

// close writes what waits. Later lines are written one by one.
func (l *lines) close() {
	l.mu.Lock()
	l.closed = true
	l.changed.Broadcast()
	l.mu.Unlock()
	l.flush()
}
