package bench

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The parts of a run whose time is counted.
const (
	partOrderAPI  = "order-api"
	partPostgres  = "Postgres"
	partRedis     = "Redis"
	partKafka     = "Kafka"
	partGenerator = "the load generator"
)

var parts = []string{partOrderAPI, partPostgres, partRedis, partKafka, partGenerator}

// spent is what each part has spent of the processors' time.
type spent map[string]time.Duration

// spent reads the kernel's counters of everything that takes part in an order. Nothing else may be at work on the servers.
func (s shop) spent(tb testing.TB) spent {
	tb.Helper()
	dsn, err := url.Parse(s.Stores.Databases["order-api"])
	if err != nil {
		tb.Fatal(err)
	}
	postgres, kafka := listener(tb, dsn.Host), listener(tb, s.Stores.Brokers[0])
	now := processes() // one look: looking costs the load generator's time too
	return spent{
		partOrderAPI: now.tree(s.Part("order-api", 0).PID()),
		partPostgres: now.tree(postgres),
		partRedis:    now.tree(s.Redis.PID()),
		partKafka:    now.tree(kafka),
		// Its living children are the parts above. What it started for the load has ended by then.
		partGenerator: now[os.Getpid()].own,
	}
}

// since says for each part how many µs it spent for each of n orders, and what they are together.
func (u spent) since(before spent, n int64) (each map[string]float64, sum float64) {
	each = map[string]float64{}
	for part, now := range u {
		each[part] = float64((now - before[part]).Microseconds()) / float64(max(1, n))
		sum += each[part]
	}
	return each, sum
}

// listeners are those that were found: the servers live as long as the bench.
var listeners sync.Map

// listener is the process of this machine that listens at addr. Of a process and its forks it is the first.
func listener(tb testing.TB, addr string) int {
	tb.Helper()
	if pid, found := listeners.Load(addr); found {
		return pid.(int)
	}
	socket, err := listening(addr)
	if err != nil {
		tb.Fatal(err)
	}
	holders := map[int]bool{}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == socket {
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
			holders[pid] = true
		}
	}
	all := processes()
	for pid := range holders {
		if !holders[all[pid].parent] {
			listeners.Store(addr, pid)
			return pid
		}
	}
	tb.Fatalf("nobody whose files may be seen listens at %s: measure with servers of your own, from `make servers`", addr)
	return 0
}

// listening names the socket that listens at addr as /proc does.
func listening(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return "", err
	}
	want := ":" + strings.ToUpper(hex.EncodeToString(binary.BigEndian.AppendUint16(nil, uint16(number))))
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 9 && strings.HasSuffix(f[1], want) && f[3] == "0A" {
				return "socket:[" + f[9] + "]", nil
			}
		}
	}
	return "", fmt.Errorf("nothing on this machine listens at port %s of %s: the processors' time of all parts can be counted only with servers on this machine", port, host)
}
