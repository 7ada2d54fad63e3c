package bench

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
)

// wiretap is a way to Postgres that counts the statements which are sent to be executed, whatever driver sends them.
type wiretap struct {
	dsn  string
	seen atomic.Int64
}

// tapped puts a wiretap before the database of dsn, which must not ask for TLS. It ends with the benchmark.
func tapped(tb testing.TB, dsn string) *wiretap {
	tb.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		tb.Fatal(err)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = ln.Close() }) // it ends accepting
	w, server := &wiretap{}, u.Host
	u.Host = ln.Addr().String()
	w.dsn = u.String()
	go func() { // ends with the listener
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() { // ends with either side
				_, _ = io.Copy(in, out)
				_ = in.Close()
			}()
			go func() { // the same
				w.listen(in, out)
				_ = out.Close()
			}()
		}
	}()
	return w
}

// listen passes on what a client sends. The first message has no type; of the others an Execute or a Query is a statement.
func (w *wiretap) listen(client io.Reader, server io.Writer) {
	in := bufio.NewReaderSize(client, 1<<16)
	out := bufio.NewWriterSize(server, 1<<16)
	head := 4
	for {
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
		header, err := in.Peek(head)
		if err != nil {
			return
		}
		if head == 5 && (header[0] == 'E' || header[0] == 'Q') {
			w.seen.Add(1)
		}
		length := int64(head-4) + int64(binary.BigEndian.Uint32(header[head-4:]))
		if _, err := io.CopyN(out, in, length); err != nil {
			return
		}
		head = 5
	}
}
