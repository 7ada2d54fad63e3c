package local

import (
	"context"
	"errors"
	"fmt"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/run"
	dlqreplayer "github.com/floodgate-dev/floodgate/services/dlq-replayer"
	"github.com/floodgate-dev/floodgate/services/inventory"
	"github.com/floodgate-dev/floodgate/services/logistics"
	orderapi "github.com/floodgate-dev/floodgate/services/order-api"
	"github.com/floodgate-dev/floodgate/services/points"
)

// member is one service of the suite, ready to run.
type member struct {
	name    string
	scheme  string // how its door is spoken to
	listens run.Config
	serve   func(context.Context) error
}

// suite is all services with their settings, in the order in which they start: the public door opens last.
type suite struct {
	members []member
	tokens  auth.Config
	prefix  string // of topics and groups
}

// load reads every service's settings as the service itself would, and complains about all of them at once. order-api
// is told where the others listen.
func (s settings) load() (suite, error) {
	stock, err1 := read("inventory", s, inventory.Defaults(), inventory.Config.Check)
	rewards, err2 := read("points", s, points.Defaults(), points.Config.Check)
	parcels, err3 := read("logistics", s, logistics.Defaults(), logistics.Config.Check)
	dead, err4 := read("dlq-replayer", s, dlqreplayer.Defaults(), dlqreplayer.Config.Check)
	s["ORDER_API_INVENTORY_ADDR"] = stock.Run.Addr()
	s["ORDER_API_POINTS_ADDR"] = rewards.Run.Addr()
	s["ORDER_API_LOGISTICS_ADDR"] = parcels.Run.Addr()
	orders, err5 := read("order-api", s, orderapi.Defaults(), orderapi.Config.Check)
	return suite{
		members: []member{
			{"inventory", "grpc://", stock.Run, func(ctx context.Context) error { return inventory.Run(ctx, stock) }},
			{"points", "grpc://", rewards.Run, func(ctx context.Context) error { return points.Run(ctx, rewards) }},
			{"logistics", "grpc://", parcels.Run, func(ctx context.Context) error { return logistics.Run(ctx, parcels) }},
			{"dlq-replayer", "http://", dead.Run, func(ctx context.Context) error { return dlqreplayer.Run(ctx, dead) }},
			{"order-api", "http://", orders.Run, func(ctx context.Context) error { return orderapi.Run(ctx, orders) }},
		},
		tokens: orders.Auth,
		prefix: orders.Kafka.TopicPrefix,
	}, errors.Join(err1, err2, err3, err4, err5)
}

func read[C any](service string, s settings, defaults C, check func(C) []string) (C, error) {
	c, _, err := config.Load(service, "", s.environ(), defaults, check)
	return c, err
}

// doors are all addresses that the suite listens on.
func (s suite) doors() []door {
	var all []door
	for _, m := range s.members {
		all = append(all, door{m.listens.Addr(), config.Name(m.name, "port")}, door{m.listens.OpsAddr(), config.Name(m.name, "ops_port")})
	}
	return all
}

// orderAPI is the member that opens last.
func (s suite) orderAPI() member { return s.members[len(s.members)-1] }

// public is order-api's door.
func (s suite) public() string { return "http://" + s.orderAPI().listens.Addr() }

// addresses are what the outside may know.
func (s suite) addresses(st *state, pid int, kafka, redis string) Addresses {
	a := Addresses{PID: pid, HTTP: s.public(), Kafka: kafka, Redis: redis, Prefix: s.prefix, Databases: map[string]string{}}
	for _, m := range s.members {
		a.Databases[m.name] = st.dsn(m.name)
		if m.name == "dlq-replayer" {
			a.Replayer = m.scheme + m.listens.Addr()
		}
	}
	return a
}

// dsn is a service's database in the state folder.
func (s *state) dsn(service string) string { return "sqlite:" + s.path(service+".db") }

// embed puts in what every start has in common. Behaviour that the environment chose stays chosen.
func (s settings) embed(st *state, key string) {
	for _, service := range []string{"inventory", "points", "logistics", "dlq-replayer", "order-api"} {
		s[config.Name(service, "database_dsn")] = st.dsn(service)
	}
	for name, value := range map[string]string{
		"FLOODGATE_AUTH_KEY":          key,
		"FLOODGATE_KAFKA_PARTITIONS":  "4",
		"FLOODGATE_KAFKA_REPLICATION": "1",
		"FLOODGATE_LOG_FORMAT":        "console",
		"FLOODGATE_LOG_LEVEL":         "warn",
		"ORDER_API_TRUST_CAPTURED":    "on",
	} {
		s.unless(name, value)
	}
}

// at says where the embedded servers are.
func (s settings) at(kafka, redis string) {
	s["FLOODGATE_KAFKA_BROKERS"] = kafka
	s["ORDER_API_REDIS_ADDRS"] = redis
}

// unready says why a member is not ready, for the one who waits for it.
func unready(m member, why any) error { return fmt.Errorf("%s is not ready: %v", m.name, why) }
