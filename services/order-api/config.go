package orderapi

import (
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/pkg/telemetry"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/admission"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/gate"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/items"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redisdb"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/shield"
)

// Config is all that can be set.
type Config struct {
	Run       run.Config       `mapstructure:",squash"`
	Database  database.Config  `mapstructure:",squash"`
	Kafka     kafka.Config     `mapstructure:",squash"`
	Outbox    outbox.Config    `mapstructure:",squash"`
	Auth      auth.Config      `mapstructure:",squash"`
	Telemetry telemetry.Config `mapstructure:",squash"`
	Redis     redisdb.Config   `mapstructure:",squash"`
	Gate      gate.Config      `mapstructure:",squash"`
	Items     items.Config     `mapstructure:",squash"`
	Admission admission.Config `mapstructure:",squash"`
	Shield    shield.Config    `mapstructure:",squash"`

	// TrustCaptured lets a customer say that the money is in. For trying things out only.
	TrustCaptured bool `mapstructure:"trust_captured"`
	// PaymentWindow is how long a deferred order waits for its money.
	PaymentWindow time.Duration `mapstructure:"payment_window"`
	// Committers is how many batches of orders may be under way at once.
	Committers int `mapstructure:"committers"`
	// Queue is how many orders may wait for a committer. Callers who leave give up their place at the door, their orders stay
	// here: so that a crowd which gives up and asks again fills no more than this, it is no longer than what the door admits.
	Queue int `mapstructure:"accept_queue"`
	// AcceptDelay makes every batch of orders wait before its COMMIT, so that little load is too much. It is for tests of
	// overload and for nothing else.
	AcceptDelay time.Duration `mapstructure:"accept_delay"`
	// InventoryAddr, PointsAddr and LogisticsAddr are where people's questions are passed on to.
	InventoryAddr string `mapstructure:"inventory_addr"`
	PointsAddr    string `mapstructure:"points_addr"`
	LogisticsAddr string `mapstructure:"logistics_addr"`
}

// Defaults are the settings of a service that was told nothing; it still needs its database's DSN and a key for tokens.
func Defaults() Config {
	return Config{
		Run: run.Defaults(8080, 9180), Database: database.Defaults(), Kafka: kafka.Defaults(), Outbox: outbox.Defaults(),
		Telemetry: telemetry.Defaults(), Redis: redisdb.Defaults(), Gate: gate.Defaults(), Items: items.Defaults(), Admission: admission.Defaults(),
		PaymentWindow: 15 * time.Minute, Committers: 1, Queue: 512,
		InventoryAddr: "127.0.0.1:9101", PointsAddr: "127.0.0.1:9102", LogisticsAddr: "127.0.0.1:9103",
	}
}

// maxAcceptDelay keeps a delayed batch well within what the database grants a transaction that idles.
const maxAcceptDelay = time.Second

// Check says what is wrong with c, all at once; nil when nothing is.
func (c Config) Check() []string {
	return slices.Concat(c.Run.Check(), c.Database.Check(), c.Kafka.Check(), c.Outbox.Check(), c.Auth.Check(),
		c.Telemetry.Check(), c.Redis.Check(), c.Gate.Check(), c.Items.Check(), c.Admission.Check(), c.Shield.Check(), c.check())
}

func (c Config) check() []string {
	var bad []string
	if c.PaymentWindow < time.Second || c.PaymentWindow > 365*24*time.Hour {
		bad = append(bad, fmt.Sprintf("payment_window is %v: it must be from 1s to a year", c.PaymentWindow))
	}
	if c.Committers < 1 {
		bad = append(bad, fmt.Sprintf("committers is %d: at least 1 is needed", c.Committers))
	} else if c.Committers > c.Database.Steady() {
		bad = append(bad, fmt.Sprintf("committers is %d, more than a quarter of database_max_conns (%d): lower the one or raise the other",
			c.Committers, c.Database.MaxConns))
	}
	if c.Gate.Kind != gate.KindOff && len(c.Redis.Addrs) == 0 {
		bad = append(bad, "redis_addrs is empty: name a Redis as host:port, or set gate to off")
	}
	if c.Queue < 1 {
		bad = append(bad, fmt.Sprintf("accept_queue is %d: at least one order must be able to wait", c.Queue))
	}
	if c.AcceptDelay < 0 || c.AcceptDelay > maxAcceptDelay {
		bad = append(bad, fmt.Sprintf("accept_delay is %v: it must be from 0 to %v, and 0 unless overload is being tried", c.AcceptDelay, maxAcceptDelay))
	}
	for _, peer := range []struct{ key, addr string }{
		{"inventory_addr", c.InventoryAddr}, {"points_addr", c.PointsAddr}, {"logistics_addr", c.LogisticsAddr},
	} {
		if _, _, err := net.SplitHostPort(peer.addr); err != nil {
			bad = append(bad, fmt.Sprintf("%s is %q: it must be host:port", peer.key, peer.addr))
		}
	}
	return bad
}
