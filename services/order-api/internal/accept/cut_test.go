package accept_test

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
)

// cut is a way to Postgres that can lose the answer to a COMMIT: the server gets it and acts, the client hears nothing
// more.
type cut struct {
	dsn  string
	next atomic.Bool // the next COMMIT is cut off
}

func cutCommits(t *testing.T, dsn string) *cut {
	t.Helper()
	u, err := url.Parse(dsn)
	must(t, err)
	server := u.Host
	door, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = door.Close() })
	u.Host = door.Addr().String()
	c := &cut{dsn: u.String()}
	go func() {
		for {
			client, err := door.Accept()
			if err != nil {
				return
			}
			go c.carry(client, server)
		}
	}()
	return c
}

// carry passes bytes both ways until one side ends or a COMMIT is cut off.
func (c *cut) carry(client net.Conn, addr string) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	go func() {
		defer func() { _ = client.Close() }()
		buf := make([]byte, 1<<16)
		for {
			n, err := server.Read(buf)
			if err != nil || bytes.Contains(buf[:n], committed) && c.next.CompareAndSwap(true, false) {
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	_, _ = io.Copy(server, client) // until the other half has closed it
}

// committed is the server's word that COMMIT is done.
var committed = []byte("COMMIT\x00")
