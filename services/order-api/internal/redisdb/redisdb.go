// Package redisdb opens the Redis that order-api's gate and its cache of items share.
//
// It promises that a Redis which is away is noticed quickly and costs a caller no more than its patience: nothing in the
// service needs Redis to be right.
package redisdb

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/trust"
)

// Config says where Redis is: one node, a Cluster, or a master that sentinels know. No address: there is none.
type Config struct {
	Addrs            []string      `mapstructure:"redis_addrs"`
	Username         string        `mapstructure:"redis_username"`
	Password         config.Secret `mapstructure:"redis_password"`
	TLS              bool          `mapstructure:"redis_tls"`
	TLSCAFile        string        `mapstructure:"redis_tls_ca_file"`
	TLSCertFile      string        `mapstructure:"redis_tls_cert_file"`
	TLSKeyFile       string        `mapstructure:"redis_tls_key_file"`
	Cluster          bool          `mapstructure:"redis_cluster"`
	MasterName       string        `mapstructure:"redis_master_name"`
	SentinelUsername string        `mapstructure:"redis_sentinel_username"`
	SentinelPassword config.Secret `mapstructure:"redis_sentinel_password"`

	// Patience bounds what one visit of Redis may cost a request before the request goes on without it.
	Patience time.Duration `mapstructure:"redis_patience"`
}

// maxPatience keeps a Redis that is away from holding orders up for as long as their senders wait.
const maxPatience = 10 * time.Second

// Defaults are the settings of a service that was told nothing.
func Defaults() Config {
	return Config{Addrs: []string{"127.0.0.1:6379"}, Patience: 500 * time.Millisecond}
}

// Check says what is wrong with c, all at once; nil when nothing is.
func (c Config) Check() []string {
	var bad []string
	for _, addr := range c.Addrs {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			bad = append(bad, fmt.Sprintf("redis_addrs has %q: it must be host:port", addr))
		}
	}
	if c.MasterName != "" && c.Cluster {
		bad = append(bad, "redis_master_name and redis_cluster contradict each other: a Cluster has no sentinels")
	}
	if c.MasterName == "" && (c.SentinelUsername != "" || c.SentinelPassword != "") {
		bad = append(bad, "redis_sentinel_username and redis_sentinel_password need redis_master_name")
	}
	if c.Username != "" && c.Password == "" {
		bad = append(bad, "redis_username needs redis_password")
	}
	if c.Patience < time.Millisecond || c.Patience > maxPatience {
		bad = append(bad, fmt.Sprintf("redis_patience is %v: it must be from 1ms to %v", c.Patience, maxPatience))
	}
	return append(bad, c.files().Check(c.TLS, "redis_tls", "redis_tls")...)
}

func (c Config) files() trust.Files {
	return trust.Files{CA: c.TLSCAFile, Cert: c.TLSCertFile, Key: c.TLSKeyFile}
}

// quiet drops what the driver would print: that Redis is away is said once, by who misses it, and in the log's own format.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// hush is once for the process, for the driver has one logger for all clients.
var hush = sync.OnceFunc(func() { redis.SetLogger(quiet{}) })

// Open returns a client that connects when first used. The caller closes it.
func Open(c Config) redis.UniversalClient {
	hush()
	o := &redis.UniversalOptions{
		Addrs: c.Addrs, Username: c.Username, Password: c.Password.Reveal(),
		MasterName: c.MasterName, SentinelUsername: c.SentinelUsername, SentinelPassword: c.SentinelPassword.Reveal(),
		IsClusterMode: c.Cluster,
		// A request must never wait long for what it can do without: no retries behind a breaker's back, and no
		// queueing for a connection beyond its patience.
		MaxRetries: -1, DialTimeout: c.Patience, ReadTimeout: c.Patience, WriteTimeout: c.Patience, PoolTimeout: c.Patience,
		DialerRetries: 1, ContextTimeoutEnabled: true, PoolSize: 64,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if c.TLS {
		o.TLSConfig, _ = c.files().Client("redis_tls") // Check refused before what cannot be read
	}
	return redis.NewUniversalClient(o)
}
