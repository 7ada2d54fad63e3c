package suite

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is one program that a test may kill, stop and start again. It never outlives the test: it is ended by its
// own id, and the system ends it if the test binary dies first.
type Process struct {
	Name string
	Env  []string // beside PATH and HOME; read at each start
	Dir  string   // where it runs; "" for the test's own folder

	tb   testing.TB
	argv []string
	log  string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// NewProcess names a program; it does not start it. Its output is shown when the test fails.
func NewProcess(tb testing.TB, name string, argv ...string) *Process {
	tb.Helper()
	p := &Process{Name: name, tb: tb, argv: argv, log: filepath.Join(tb.TempDir(), name+".log")}
	tb.Cleanup(p.end)
	return p
}

// Start runs the program; one that runs already is an error of the test.
func (p *Process) Start() {
	p.tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alive() {
		p.tb.Fatalf("%s runs already", p.Name)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.tb.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the child has its own
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(), "GORACE=halt_on_error=0"}, p.Env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.Dir, log, log
	cmd.SysProcAttr = diesWithUs()
	if err := cmd.Start(); err != nil {
		p.tb.Fatalf("start %s: %v", p.Name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() { // ends with the process; Kill, Terminate and the test's end wait for it
		defer close(done)
		_ = cmd.Wait() // how it ended is in ProcessState
	}()
}

// alive needs mu.
func (p *Process) alive() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Alive says whether the program runs.
func (p *Process) Alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.alive()
}

// PID is the id of the running program.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.alive() {
		p.tb.Fatalf("%s does not run", p.Name)
	}
	return p.cmd.Process.Pid
}

// signal fails the test when there is nobody to hear it: a fault that did not fire proves nothing.
func (p *Process) signal(s syscall.Signal) {
	p.tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.alive() {
		p.tb.Fatalf("%s was to get %v but does not run any more", p.Name, s)
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		p.tb.Fatalf("send %s %v: %v", p.Name, s, err)
	}
}

// Kill is kill -9; it returns when the process is gone, and fails the test if it had ended before.
func (p *Process) Kill() {
	p.tb.Helper()
	p.signal(syscall.SIGKILL)
	<-p.done
	if s, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGKILL {
		p.tb.Fatalf("%s ended with %v, not by kill -9", p.Name, p.cmd.ProcessState)
	}
}

// Stop freezes the process (SIGSTOP) and returns once the system has.
func (p *Process) Stop() {
	p.tb.Helper()
	p.signal(syscall.SIGSTOP)
	WaitFor(p.tb, 5*time.Second, func() error {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
		if err != nil {
			return err
		}
		if _, rest, ok := bytes.Cut(state, []byte(") ")); !ok || rest[0] != 'T' {
			return fmt.Errorf("%s is not stopped yet", p.Name)
		}
		return nil
	})
}

// Cont lets a frozen process go on.
func (p *Process) Cont() {
	p.tb.Helper()
	p.signal(syscall.SIGCONT)
}

// Terminate is SIGTERM; it returns the exit status, or fails the test when the process does not end within ten seconds.
func (p *Process) Terminate() int {
	p.tb.Helper()
	return p.TerminateWithin(10 * time.Second)
}

// TerminateWithin is Terminate for a program that takes its time to end.
func (p *Process) TerminateWithin(limit time.Duration) int {
	p.tb.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(limit):
		p.tb.Fatalf("%s did not end within %v of SIGTERM", p.Name, limit)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Log is everything the program has written.
func (p *Process) Log() string {
	text, err := os.ReadFile(p.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.tb.Error(err)
	}
	return string(text)
}

func (p *Process) end() {
	p.mu.Lock()
	if p.alive() {
		_ = p.cmd.Process.Kill() // it may have ended this moment
		<-p.done
	}
	p.mu.Unlock()
	log := p.Log()
	if bytes.Contains([]byte(log), []byte("WARNING: DATA RACE")) {
		p.tb.Errorf("%s has a data race", p.Name)
	}
	if p.tb.Failed() {
		p.tb.Logf("the end of %s's log:\n%s", p.Name, log[max(0, len(log)-6000):])
	}
}

// WaitFor polls until try succeeds; past the limit the test fails with what try said last.
func WaitFor(tb testing.TB, limit time.Duration, try func() error) {
	tb.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			tb.Fatalf("not within %v: %v", limit, err)
		case <-tick.C:
		}
	}
}

// WaitMoving is WaitFor for work that takes as long as the machine is slow: it fails when try has told of the same place
// for so long as patience, however far the end is.
func WaitMoving(tb testing.TB, patience time.Duration, try func() (place string, err error)) {
	tb.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last, since := "", time.Now()
	for {
		place, err := try()
		if err == nil {
			return
		}
		if place != "" && place != last {
			last, since = place, time.Now()
		}
		if time.Since(since) > patience {
			tb.Fatalf("nothing moved for %v: %v", patience, err)
		}
		<-tick.C
	}
}
