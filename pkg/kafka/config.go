package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/trust"
)

// Config says where Kafka is and how topics are made there.
type Config struct {
	// Brokers are the addresses to begin with, host:port.
	Brokers []string `mapstructure:"kafka_brokers"`
	// TopicPrefix is put before every topic and group, so that installations can share a cluster.
	TopicPrefix string `mapstructure:"kafka_topic_prefix"`
	// Partitions is how many a topic gets when it is made.
	Partitions int `mapstructure:"kafka_partitions"`
	// Replication is how many brokers keep a topic when it is made.
	Replication int `mapstructure:"kafka_replication"`
	// SessionTimeout is how long a group waits for a silent member before others take its partitions.
	SessionTimeout time.Duration `mapstructure:"kafka_session_timeout"`

	TLS         bool   `mapstructure:"kafka_tls_enabled"`
	TLSCAFile   string `mapstructure:"kafka_tls_ca_file"`
	TLSCertFile string `mapstructure:"kafka_tls_cert_file"`
	TLSKeyFile  string `mapstructure:"kafka_tls_key_file"`

	// Mechanism is plain, scram-sha-256 or scram-sha-512; empty for none.
	Mechanism string        `mapstructure:"kafka_sasl_mechanism"`
	Username  string        `mapstructure:"kafka_sasl_username"`
	Password  config.Secret `mapstructure:"kafka_sasl_password"`
}

// Defaults are the settings for a cluster of three brokers or more.
func Defaults() Config {
	return Config{Brokers: []string{"127.0.0.1:9092"}, Partitions: 12, Replication: 3, SessionTimeout: 10 * time.Second}
}

// Check says what is wrong with c, all at once; nil when nothing is.
func (c Config) Check() []string {
	var bad []string
	complain := func(wrong bool, format string, args ...any) {
		if wrong {
			bad = append(bad, fmt.Sprintf(format, args...))
		}
	}
	complain(len(c.Brokers) == 0, "kafka_brokers is empty: name at least one host:port")
	for _, b := range c.Brokers {
		_, port, err := net.SplitHostPort(b)
		complain(err != nil || port == "", "kafka_brokers has %q: it must be host:port", b)
	}
	complain(c.Partitions < 1, "kafka_partitions is %d: at least 1 is needed", c.Partitions)
	complain(c.Replication < 1, "kafka_replication is %d: at least 1 is needed", c.Replication)
	complain(c.SessionTimeout < time.Second, "kafka_session_timeout is %v: at least 1s is needed", c.SessionTimeout)
	bad = append(bad, c.files().Check(c.TLS, "kafka_tls", "kafka_tls_enabled")...)
	if _, err := c.sasl(); err != nil {
		complain(true, "%v", err)
	}
	return bad
}

func (c Config) files() trust.Files {
	return trust.Files{CA: c.TLSCAFile, Cert: c.TLSCertFile, Key: c.TLSKeyFile}
}

func (c Config) tls() (*tls.Config, error) {
	if !c.TLS {
		return nil, nil //nolint:nilnil // nil means plain text to kafka-go
	}
	return c.files().Client("kafka_tls")
}

func (c Config) sasl() (sasl.Mechanism, error) {
	switch c.Mechanism {
	case "":
		if c.Username != "" {
			return nil, errors.New("kafka_sasl_username needs kafka_sasl_mechanism")
		}
		return nil, nil //nolint:nilnil // nil means no login to kafka-go
	case "plain":
		return plain.Mechanism{Username: c.Username, Password: c.Password.Reveal()}, nil
	case "scram-sha-256":
		return scram.Mechanism(scram.SHA256, c.Username, c.Password.Reveal())
	case "scram-sha-512":
		return scram.Mechanism(scram.SHA512, c.Username, c.Password.Reveal())
	}
	return nil, fmt.Errorf("kafka_sasl_mechanism is %q: use plain, scram-sha-256 or scram-sha-512", c.Mechanism)
}

// security is the TLS and login of c; Check refused before what cannot work here.
func (c Config) security() (*tls.Config, sasl.Mechanism) {
	secure, _ := c.tls()
	login, _ := c.sasl()
	return secure, login
}

// transport is for requests and writers; the caller closes its idle connections. It asks again and again where topics
// are: of all that the cluster has, unless some are named.
func (c Config) transport(topics ...string) *kafka.Transport {
	secure, login := c.security()
	return &kafka.Transport{
		TLS: secure, SASL: login, DialTimeout: 5 * time.Second, ClientID: "floodgate",
		MetadataTTL: 2 * time.Second, MetadataTopics: topics,
	}
}

// dialer is for groups and readers.
func (c Config) dialer() *kafka.Dialer {
	secure, login := c.security()
	return &kafka.Dialer{TLS: secure, SASLMechanism: login, Timeout: 5 * time.Second, DualStack: true, ClientID: "floodgate"}
}

func (c Config) client(topics ...string) *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(c.Brokers...), Transport: c.transport(topics...), Timeout: 10 * time.Second}
}

// idle closes a client's connections.
func idle(c *kafka.Client) {
	if t, ok := c.Transport.(*kafka.Transport); ok {
		t.CloseIdleConnections()
	}
}
