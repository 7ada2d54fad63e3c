package redisdb_test

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redisdb"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redistest"
)

func TestConfigComplains(t *testing.T) {
	t.Parallel()
	for complaint, cfg := range map[string]redisdb.Config{
		"must be host:port":    {Addrs: []string{"a"}, Patience: time.Second},
		"redis_patience is 0s": {Addrs: []string{"a:1"}},
		"from 1ms to 10s":      {Addrs: []string{"a:1"}, Patience: 11 * time.Second},
		"contradict":           {Addrs: []string{"a:1"}, Patience: time.Second, Cluster: true, MasterName: "m"},
		"need redis_master":    {Addrs: []string{"a:1"}, Patience: time.Second, SentinelUsername: "u"},
		"needs redis_password": {Addrs: []string{"a:1"}, Patience: time.Second, Username: "u"},
		"need redis_tls":       {Addrs: []string{"a:1"}, Patience: time.Second, TLSCAFile: "ca.crt"},
		"redis_tls_ca_file: ":  {Addrs: []string{"a:1"}, Patience: time.Second, TLS: true, TLSCAFile: "/nowhere/ca.crt"},
	} {
		if bad := cfg.Check(); len(bad) != 1 || !strings.Contains(bad[0], complaint) {
			t.Errorf("%+v: complaints %q, want one with %q", cfg, bad, complaint)
		}
	}
	if bad := redisdb.Defaults().Check(); bad != nil {
		t.Errorf("the defaults: %q", bad)
	}
}

// TestRedisIsKnownByItsAuthority logs in over TLS; a Redis of another authority never hears the password.
func TestRedisIsKnownByItsAuthority(t *testing.T) {
	t.Parallel()
	cert, key := servertest.Certificate(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	server := miniredis.NewMiniRedis()
	if err := server.StartTLS(&tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	server.RequireAuth("secret")
	ping := func(ca string) error {
		cfg := redistest.At(server.Addr())
		cfg.Password, cfg.TLS, cfg.TLSCAFile = "secret", true, ca
		client := redisdb.Open(cfg)
		defer func() { _ = client.Close() }()
		return client.Ping(t.Context()).Err()
	}
	if err := ping(cert); err != nil {
		t.Errorf("its own authority: %v", err)
	}
	other, _ := servertest.Certificate(t)
	if err := ping(other); err == nil || !strings.Contains(err.Error(), "x509") {
		t.Errorf("another authority: %v, want x509's refusal", err)
	}
}
