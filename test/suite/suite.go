// Package suite starts a whole Floodgate for a test: the services' own binaries as processes on real servers, with
// databases, topics, a Redis and ports that no other test has. Any process can be killed, stopped and started again.
//
// It promises that nothing it starts outlives the test, and that a fault which did not fire fails the test.
package suite

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/test/books"
)

// Key signs the tokens of every suite that a test starts.
const Key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// Config says how a suite differs from the plainest one.
type Config struct {
	Services []string                    // those to start; nil for all
	Replicas map[string]int              // by service; 1 where it is not named
	Env      []string                    // settings for all processes, FLOODGATE_… or <SERVICE>_…
	Postgres *servertest.PostgresProcess // a server of the test's own; nil for the shared one
	Kafka    *Kafka                      // a broker of the test's own; nil for the shared one
	Cuttable bool                        // the services reach the database through Suite.Line
	Command  func(*Part) []string        // how a part is started when its Env is known; nil for the binary that Main built
}

// Suite is the whole thing, running.
type Suite struct {
	Redis  *Redis
	Line   *servertest.Link // between the services and the database, where the test asked for one
	Stores books.Stores     // as the test reaches them, never through Line

	tb    testing.TB
	parts map[string][]*Part
}

// Part is one replica of one service.
type Part struct {
	*Process
	Service string
	Addr    string // of its door
	Ops     string // of its operations door
}

// Start brings a suite up and returns when every process is ready.
func Start(tb testing.TB, cfg Config) *Suite {
	tb.Helper()
	s := &Suite{tb: tb, parts: map[string][]*Part{}, Redis: StartRedis(tb)}
	s.Stores = stores(tb, cfg)
	if cfg.Cuttable {
		s.Line = servertest.Proxy(tb, parsed(tb, s.Stores.Databases["order-api"]).Host)
	}
	for _, name := range Services {
		if cfg.Services != nil && !slices.Contains(cfg.Services, name) {
			continue
		}
		for k := range max(1, cfg.Replicas[name]) {
			ports := freePorts(tb, 2)
			s.parts[name] = append(s.parts[name], &Part{
				Process: NewProcess(tb, fmt.Sprintf("%s-%d", name, k)),
				Service: name, Addr: "127.0.0.1:" + ports[0], Ops: "127.0.0.1:" + ports[1],
			})
		}
	}
	for _, p := range s.All() {
		p.Env = append(s.environ(p), cfg.Env...)
		p.argv = cfg.command(p)
		p.Start()
	}
	for _, p := range s.All() {
		p.WaitReady(60 * time.Second)
	}
	return s
}

func (c Config) command(p *Part) []string {
	if c.Command != nil {
		return c.Command(p)
	}
	return []string{Binary(p.tb, p.Service), "serve"}
}

func stores(tb testing.TB, cfg Config) books.Stores {
	tb.Helper()
	database := servertest.PostgresDSN
	if cfg.Postgres != nil {
		database = func(tb testing.TB) string { return databaseOn(tb, cfg.Postgres) }
	}
	st := books.Stores{Databases: map[string]string{}}
	for _, name := range Services {
		st.Databases[name] = database(tb)
	}
	if cfg.Kafka != nil {
		st.Brokers, st.Prefix = []string{cfg.Kafka.Addr}, servertest.Unique()+"."
		return st
	}
	st.Brokers, st.Prefix = servertest.Kafka(tb)
	tb.Cleanup(func() { DropTopics(tb, st.Brokers, st.Prefix) })
	return st
}

// environ is everything p has to be told.
func (s *Suite) environ(p *Part) []string {
	own := strings.ToUpper(strings.ReplaceAll(p.Service, "-", "_")) + "_"
	_, port, _ := net.SplitHostPort(p.Addr)
	_, ops, _ := net.SplitHostPort(p.Ops)
	env := []string{
		own + "DATABASE_DSN=" + s.dsn(p.Service), own + "PORT=" + port, own + "OPS_PORT=" + ops,
		"FLOODGATE_KAFKA_BROKERS=" + strings.Join(s.Stores.Brokers, ","), "FLOODGATE_KAFKA_TOPIC_PREFIX=" + s.Stores.Prefix,
		"FLOODGATE_KAFKA_PARTITIONS=4", "FLOODGATE_KAFKA_REPLICATION=1",
		"FLOODGATE_AUTH_KEY=" + Key, "FLOODGATE_LOG_LEVEL=info", "FLOODGATE_LOG_FORMAT=console",
	}
	if p.Service == "order-api" {
		env = append(env, "ORDER_API_REDIS_ADDRS="+s.Redis.Addr, "ORDER_API_TRUST_CAPTURED=on",
			"ORDER_API_INVENTORY_ADDR="+s.door("inventory"), "ORDER_API_POINTS_ADDR="+s.door("points"),
			"ORDER_API_LOGISTICS_ADDR="+s.door("logistics"))
	}
	return env
}

// door is where the first replica of a service is asked; where nobody answers when it was not to be started.
func (s *Suite) door(service string) string {
	if len(s.parts[service]) == 0 {
		return "127.0.0.1:1"
	}
	return s.Part(service, 0).Addr
}

// Part is replica k of a service.
func (s *Suite) Part(service string, k int) *Part { return s.parts[service][k] }

// All lists every process, in the order in which they start.
func (s *Suite) All() []*Part {
	var all []*Part
	for _, name := range Services {
		all = append(all, s.parts[name]...)
	}
	return all
}

// WaitReady returns when the process says that it is ready.
func (p *Part) WaitReady(limit time.Duration) {
	p.tb.Helper()
	WaitFor(p.tb, limit, p.ready)
}

func (p *Part) ready() error {
	if !p.Alive() {
		return fmt.Errorf("%s has ended", p.Name)
	}
	answer, err := probe.Get("http://" + p.Ops + "/readyz?verbose")
	if err != nil {
		return err
	}
	text, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close() // it was read to its end
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", p.Name, text)
	}
	return nil
}

// probe gives up soon: a stopped process accepts connections and never answers.
var probe = &http.Client{Timeout: 2 * time.Second}

// Restart starts a process that was killed and waits until it is ready.
func (p *Part) Restart() {
	p.tb.Helper()
	p.Start()
	p.WaitReady(60 * time.Second)
}

// Balance waits until the suite is quiet and fails the test if it is not within a minute, or if a book does not
// balance.
func (s *Suite) Balance() {
	s.tb.Helper()
	report, err := books.Wait(s.tb.Context(), s.Stores, time.Minute)
	if err != nil {
		s.tb.Fatal(err)
	}
	for _, line := range report.Lines {
		if !line.Balanced() {
			s.tb.Error(line)
		}
	}
}

// freePorts finds ports that nobody listens on now, each another.
func freePorts(tb testing.TB, n int) []string {
	tb.Helper()
	var ports []string
	for len(ports) < n {
		if port := strconv.Itoa(servertest.FreePort(tb)); !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return ports
}
