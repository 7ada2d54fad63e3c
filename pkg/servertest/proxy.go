package servertest

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"
)

// Link is a way through TCP to a server that a test can break.
type Link struct {
	Addr   string // where to connect instead of the target
	target string

	mu    sync.Mutex // guards all below
	conns []net.Conn
	cut   bool
	mute  bool
}

// Proxy starts a Link to target, host:port. It ends with the test.
func Proxy(tb testing.TB, target string) *Link {
	tb.Helper()
	ln := listen(tb)
	l := &Link{Addr: ln.Addr().String(), target: target}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return // closed: the test ended
			}
			serving.Go(func() { l.serve(in) })
		}
	})
	tb.Cleanup(func() {
		_ = ln.Close()
		l.Cut()
		serving.Wait()
	})
	return l
}

// Cut ends every connection and refuses new ones until Restore.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	l.drop()
}

// CutReplies lets requests through and swallows what the server answers, on connections old and new, until Restore or
// Cut: the server does what it was asked, and nobody hears of it.
func (l *Link) CutReplies() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mute = true
}

// Restore makes the link whole for new connections. Those whose replies were swallowed end.
func (l *Link) Restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mute {
		l.drop()
	}
	l.cut, l.mute = false, false
}

// drop closes all connections. l.mu is held.
func (l *Link) drop() {
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
}

func (l *Link) serve(in net.Conn) {
	defer func() { _ = in.Close() }()
	out, err := dial(l.target)
	if err != nil || !l.keep(in, out) {
		if err == nil {
			_ = out.Close()
		}
		return
	}
	var requests sync.WaitGroup
	requests.Go(func() {
		_, _ = io.Copy(out, in) // how it ends is the test's affair
		_ = out.Close()
	})
	_, _ = io.Copy(ear{l, in}, out)
	_ = in.Close()
	requests.Wait()
	l.forget(in, out)
}

func (l *Link) keep(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return false
	}
	l.conns = append(l.conns, conns...)
	return true
}

func (l *Link) forget(conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = slices.DeleteFunc(l.conns, func(c net.Conn) bool { return slices.Contains(conns, c) })
}

// ear passes replies on unless they are cut.
type ear struct {
	link *Link
	to   io.Writer
}

func (e ear) Write(b []byte) (int, error) {
	e.link.mu.Lock()
	mute := e.link.mute
	e.link.mu.Unlock()
	if mute {
		return len(b), nil
	}
	return e.to.Write(b)
}
