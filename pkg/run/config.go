package run

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"
)

// Config says where a service listens.
type Config struct {
	ListenHost string `mapstructure:"listen_host"`
	Port       int    `mapstructure:"port"`
	OpsPort    int    `mapstructure:"ops_port"`

	// DrainDelay is how long a service that was told to stop says that it is not ready and still takes what comes: as long
	// as those who send it work need to notice.
	DrainDelay time.Duration `mapstructure:"drain_delay"`
}

// maxDrain is the longest drain delay: what a service is told to stop for should not wait for ever.
const maxDrain = 5 * time.Minute

// Group is an empty group for a service of these settings; see NewGroup.
func (c Config) Group(ctx context.Context) *Group {
	g := NewGroup(ctx)
	g.drain = c.DrainDelay
	return g
}

// Defaults are the doors of a service that was told nothing else: on loopback.
func Defaults(port, opsPort int) Config {
	return Config{ListenHost: "127.0.0.1", Port: port, OpsPort: opsPort}
}

// Check says what is wrong with c, all at once; nil when nothing is.
func (c Config) Check() []string {
	var bad []string
	if c.ListenHost == "" {
		bad = append(bad, "listen_host is empty: 127.0.0.1 listens on loopback only, 0.0.0.0 on every address")
	}
	for _, door := range []struct {
		key  string
		port int
	}{{"port", c.Port}, {"ops_port", c.OpsPort}} {
		if door.port < 1 || door.port > 65535 {
			bad = append(bad, fmt.Sprintf("%s is %d: a port is between 1 and 65535", door.key, door.port))
		}
	}
	if c.Port == c.OpsPort {
		bad = append(bad, fmt.Sprintf("port and ops_port are both %d: each door needs its own", c.Port))
	}
	if c.DrainDelay < 0 || c.DrainDelay > maxDrain {
		bad = append(bad, fmt.Sprintf("drain_delay is %s: it is between 0s and %s", c.DrainDelay, maxDrain))
	}
	return bad
}

// Addr is the service's door.
func (c Config) Addr() string { return net.JoinHostPort(c.ListenHost, strconv.Itoa(c.Port)) }

// OpsAddr is the operations door.
func (c Config) OpsAddr() string { return net.JoinHostPort(c.ListenHost, strconv.Itoa(c.OpsPort)) }
