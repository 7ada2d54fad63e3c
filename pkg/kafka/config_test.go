package kafka_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/kafka"
)

func TestConfigComplains(t *testing.T) {
	t.Parallel()
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*kafka.Config)
		want   []string // the beginnings of the complaints, in order
	}{
		"Defaults":       {func(*kafka.Config) {}, nil},
		"NoBroker":       {func(c *kafka.Config) { c.Brokers = nil }, []string{"kafka_brokers is empty"}},
		"NoPort":         {func(c *kafka.Config) { c.Brokers = []string{"a:1", "b", "c:"} }, []string{`kafka_brokers has "b"`, `kafka_brokers has "c:"`}},
		"NoPartition":    {func(c *kafka.Config) { c.Partitions = 0 }, []string{"kafka_partitions is 0"}},
		"NoReplica":      {func(c *kafka.Config) { c.Replication = -1 }, []string{"kafka_replication is -1"}},
		"Hasty":          {func(c *kafka.Config) { c.SessionTimeout = time.Millisecond }, []string{"kafka_session_timeout is 1ms"}},
		"CertWithoutKey": {func(c *kafka.Config) { c.TLS, c.TLSCertFile = true, junk }, []string{"kafka_tls_cert_file and kafka_tls_key_file", "kafka_tls_cert_file: "}},
		"FilesNoTLS":     {func(c *kafka.Config) { c.TLSCAFile = junk }, []string{"kafka_tls_ca_file and kafka_tls_cert_file need"}},
		"NoCA":           {func(c *kafka.Config) { c.TLS, c.TLSCAFile = true, junk+"x" }, []string{"kafka_tls_ca_file: open"}},
		"JunkCA":         {func(c *kafka.Config) { c.TLS, c.TLSCAFile = true, junk }, []string{"kafka_tls_ca_file: " + junk + " holds no"}},
		"NoMechanism":    {func(c *kafka.Config) { c.Username = "me" }, []string{"kafka_sasl_username needs"}},
		"OddMechanism":   {func(c *kafka.Config) { c.Mechanism = "scram" }, []string{`kafka_sasl_mechanism is "scram"`}},
		"Plain":          {func(c *kafka.Config) { c.Mechanism, c.Username, c.Password = "plain", "me", "secret" }, nil},
		"Scram":          {func(c *kafka.Config) { c.Mechanism, c.Username, c.Password = "scram-sha-512", "me", "secret" }, nil},
		"AllAtOnce": {
			func(c *kafka.Config) { *c = kafka.Config{Mechanism: "none"} },
			[]string{"kafka_brokers", "kafka_partitions", "kafka_replication", "kafka_session_timeout", "kafka_sasl_mechanism"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := kafka.Defaults()
			c.change(&cfg)
			if got := cfg.Check(); !slices.EqualFunc(got, c.want, strings.HasPrefix) {
				t.Errorf("it complains %q, want %q", got, c.want)
			}
		})
	}
}
