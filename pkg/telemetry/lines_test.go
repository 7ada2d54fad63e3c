package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// slowReader takes a call only when it is told to.
type slowReader struct {
	mu    sync.Mutex
	text  bytes.Buffer // guarded by mu
	calls int          // guarded by mu
	turn  chan struct{}
}

func (s *slowReader) Write(p []byte) (int, error) {
	<-s.turn
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	return s.text.Write(p)
}

func TestManyLinesAreWrittenInFewCalls(t *testing.T) {
	t.Parallel()
	reader := &slowReader{turn: make(chan struct{})}
	l := newLines(reader)
	log := slog.New(slog.NewTextHandler(l, nil))
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() { log.Info("line", "n", i) })
	}
	wg.Wait() // nobody waited for the reader
	close(reader.turn)
	l.close()
	if reader.calls > 2 {
		t.Errorf("%d calls, want 2: the first line, and those that gathered behind it", reader.calls)
	}
	for i := range 100 {
		if !strings.Contains(reader.text.String(), fmt.Sprintf("n=%d\n", i)) {
			t.Errorf("line %d is missing", i)
		}
	}
	log.Info("after the end")
	if !strings.Contains(reader.text.String(), "after the end") {
		t.Error("a line after the end is lost")
	}
}

func TestAnErrorIsWrittenBeforeItsCallerGoesOn(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	l := newLines(&text)
	defer l.close()
	h, err := logHandler(Defaults(), l)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		slog.New(h).ErrorContext(context.Background(), "the disk is full")
		l.mu.Lock()
		lost := len(l.waiting)
		l.mu.Unlock()
		if lost > 0 {
			t.Fatal("the error still waits: a crash now would hide its reason")
		}
	}
}

func TestAReaderThatBreaksIsTold(t *testing.T) {
	t.Parallel()
	l := newLines(broken{})
	_, _ = l.Write([]byte("one\n")) // its own error comes later
	l.flush()
	if _, err := l.Write([]byte("two\n")); err == nil {
		t.Error("nobody was told that a line was lost")
	}
	l.close()
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
