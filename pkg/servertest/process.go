package servertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for a server of the test's own.
const patience = 30 * time.Second

// process is a server that a test started for itself.
type process struct {
	tb   testing.TB
	name string
	addr string
	// command is the server's call; it must not leave the foreground.
	command func() *exec.Cmd

	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan struct{} // closed when it ended
	fate error         // how it ended, once done is closed
}

// start runs the server and waits until it answers.
func (p *process) start() {
	p.tb.Helper()
	p.out.Reset()
	p.cmd = p.command()
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if p.cmd.SysProcAttr == nil {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	bind(p.cmd.SysProcAttr)
	if err := p.cmd.Start(); err != nil {
		p.tb.Fatalf("%s: %v", p.name, err)
	}
	p.done = make(chan struct{})
	go func() {
		p.fate = p.cmd.Wait()
		close(p.done)
	}()
	p.await("open "+p.addr, func() bool {
		c, err := dial(p.addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// await polls until holds says so; it fails the test when the server dies first.
func (p *process) await(what string, holds func() bool) {
	p.tb.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		select {
		case <-p.done:
			p.tb.Fatalf("%s ended and did not %s: %v\n%s", p.name, what, p.fate, p.out.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			p.tb.Fatalf("%s did not %s within %v", p.name, what, patience)
		}
	}
}

// end sends sig to the server and waits until it is gone; it does nothing when it was not running.
func (p *process) end(sig syscall.Signal) error {
	if p.cmd == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	select {
	case <-p.done:
		p.cmd = nil
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s did not end by %v within %v", p.name, sig, patience)
	}
}

// FreePort is a loopback port that nobody uses now, and that no other test is given until tb ends: a server that is killed
// and started again finds it free. It is below those that the system gives to outgoing connections: one of these would be
// taken before its server listens.
func FreePort(tb testing.TB) int {
	tb.Helper()
	const lowest, highest = 20_000, 32_000
	var lc net.ListenConfig
	for range 100 {
		port := lowest + rand.IntN(highest-lowest) //nolint:gosec // nothing secret
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		mine, err := lc.ListenPacket(tb.Context(), "udp", addr) // nobody's server: the mark that the number is given, to all processes
		if err != nil {
			continue
		}
		ln, err := lc.Listen(tb.Context(), "tcp", addr)
		if err != nil {
			_ = mine.Close()
			continue
		}
		_ = ln.Close()
		tb.Cleanup(func() { _ = mine.Close() })
		return port
	}
	tb.Fatal("no port is free")
	return 0
}

func listen(tb testing.TB) net.Listener {
	tb.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return ln
}

// dial knows no test: what a test leaves behind is looked at after its context ended.
func dial(addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: time.Second}
	return d.DialContext(context.Background(), "tcp", addr)
}
