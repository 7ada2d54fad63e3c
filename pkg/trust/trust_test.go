package trust_test

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/pkg/trust"
)

// pair is a certificate that vouches for itself, and its key.
func pair(t *testing.T) trust.Files {
	t.Helper()
	cert, key := servertest.Certificate(t)
	return trust.Files{CA: cert, Cert: cert, Key: key}
}

// meet lets a client with one setting meet a server with another, and tells what the server made of it.
func meet(t *testing.T, client, server *tls.Config) error {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	met := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			met <- err
			return
		}
		defer func() { _ = conn.Close() }()
		_, err = conn.Read(make([]byte, 1))
		met <- err
	}()
	client = client.Clone()
	client.ServerName = "localhost"
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", listener.Addr().String(), client)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte{1}); err != nil {
		return err
	}
	return <-met
}

func TestClientBelievesItsAuthorityAndShowsItself(t *testing.T) {
	t.Parallel()
	ours, theirs := pair(t), pair(t)
	known := func(f trust.Files) *tls.Config {
		t.Helper()
		c, err := f.Client("x_tls")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	server := known(ours)
	server.ClientCAs, server.ClientAuth = server.RootCAs, tls.RequireAndVerifyClientCert
	if err := meet(t, known(ours), server); err != nil {
		t.Errorf("a client of the same authority: %v", err)
	}
	if err := meet(t, known(trust.Files{CA: theirs.CA, Cert: ours.Cert, Key: ours.Key}), server); err == nil {
		t.Error("a server of another authority is believed")
	}
	if err := meet(t, known(trust.Files{CA: ours.CA}), server); err == nil {
		t.Error("a client that shows nothing is let in")
	}
	overlooked, err := trust.Files{CA: "/nowhere"}.Client("x_tls")
	if err == nil || meet(t, overlooked, known(ours)) == nil {
		t.Errorf("a client whose error was overlooked connects (%v)", err)
	}
}

func TestCheckComplains(t *testing.T) {
	t.Parallel()
	good := pair(t)
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		files trust.Files
		on    bool
		want  []string // the beginnings of the complaints, in order
	}{
		"Off":            {trust.Files{}, false, nil},
		"SystemOnly":     {trust.Files{}, true, nil},
		"Good":           {good, true, nil},
		"FilesButOff":    {good, false, []string{"x_tls_ca_file and x_tls_cert_file need x_tls_enabled"}},
		"CertWithoutKey": {trust.Files{Cert: good.Cert}, true, []string{"x_tls_cert_file and x_tls_key_file go together", "x_tls_cert_file: "}},
		"KeyWithoutCert": {trust.Files{Key: good.Key}, true, []string{"x_tls_cert_file and x_tls_key_file go together"}},
		"NoSuchFile":     {trust.Files{CA: junk + "x"}, true, []string{"x_tls_ca_file: open"}},
		"Junk":           {trust.Files{CA: junk}, true, []string{"x_tls_ca_file: " + junk + " holds no certificate"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.files.Check(c.on, "x_tls", "x_tls_enabled"); !slices.EqualFunc(got, c.want, strings.HasPrefix) {
				t.Errorf("it complains %q, want %q", got, c.want)
			}
		})
	}
}
