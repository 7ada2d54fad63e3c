package bench

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/test/suite"
)

// classicNote says what the classic design is.
const classicNote = "The classic design (`test/bench/classic`) takes a lock in Redis for each sku (SET NX PX 10 s; who finds it taken tries again every 10 to 50 ms, at random, " +
	"until the customer has gone), lowers the stock by a script, writes the order, its line and the stock in one GORM transaction, and sends the event with " +
	"kafka-go's synchronous writer (acks=all, BatchTimeout 10 ms: the default of a second would make it one order a second and sku) before it lets the lock go and answers. " +
	"With each event sent at once (BatchSize 1) it is as fast as it can be made without changing what it does."

// pgbenchNote says what is compared with pgbench.
const pgbenchNote = "One transaction for each order is pgbench (`-M prepared`, as many clients as connections): BEGIN, the conditional UPDATE of the allotment, the inserts of the order, its line, " +
	"its payment and its event in one statement, COMMIT; no HTTP, no gate, no keys looked up. The goal compares equals: one hot sku with one hot sku, where each waits for the COMMIT before."

// classic is the usual design, running, and what its loads came to.
type classic struct {
	counter

	addr, dsn string
}

// startClassic starts the usual design on the shop's Redis and Kafka, with a database of its own. How is usual or prompt.
func startClassic(tb testing.TB, s shop, how string) *classic {
	tb.Helper()
	c := &classic{addr: "127.0.0.1:" + strconv.Itoa(servertest.FreePort(tb)), dsn: servertest.PostgresDSN(tb)}
	p := suite.NewProcess(tb, "classic-"+how, suite.Binary(tb, "classic"), c.addr, c.dsn, s.Redis.Addr,
		strings.Join(s.Stores.Brokers, ","), s.Stores.Prefix+"classic-"+how, how)
	p.Start()
	suite.WaitFor(tb, 30*time.Second, func() error {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return c
}

// audit is the book of what it sold: every unit that is gone from the stock is in an order, and every 201 is one. Customers who had
// no answer may have bought too.
func (c *classic) audit(tb testing.TB) {
	tb.Helper()
	db := servertest.Open(tb, c.dsn)
	var gone, sold, rows int64
	if err := db.QueryRowContext(tb.Context(), `SELECT (SELECT COUNT(*) * $1::bigint - SUM(remaining) FROM stocks),
		(SELECT SUM(quantity) FROM order_items), (SELECT COUNT(*) FROM orders)`, classicUnits).Scan(&gone, &sold, &rows); err != nil {
		tb.Fatal(err)
	}
	if gone != sold || rows < c.accepted || rows > c.accepted+c.lost {
		tb.Fatalf("the run is void: the classic design is %d units short, sold %d in %d orders, and acknowledged %d; %d got no answer", gone, sold, rows, c.accepted, c.lost)
	}
}

// classicUnits are what it has of each sku at first.
const classicUnits = 1_000_000

// oneByOne is what one transaction for each order comes to: pgbench writes the same rows as an order does into the same
// tables, in a database of its own, from as many connections as there are customers.
type oneByOne struct {
	shop

	dsn, pgbench, script string

	orders, cut int64 // transactions that were counted, and those that may have been cut off
}

// transaction is one order as one transaction: its row, its line, its payment and its event, and the units it takes.
const transaction = `\set sku random(0, %d)
BEGIN;
UPDATE allotments SET remaining = remaining - 1 WHERE sku_id = 'sku-' || :sku AND remaining > 0;
WITH o AS (INSERT INTO orders (id, user_id, status, payment, held_ref, total_cents, currency, reference, metadata, version, created_at, updated_at,
	expires_at, placed_by, idem_key, fingerprint) VALUES (gen_random_uuid(), 'customer-' || :client_id, 'created', 'captured', 'captured', 450, 'EUR', '', '', 1, 1, 1,
	0, 'customer', gen_random_uuid()::text, 'print') RETURNING id),
i AS (INSERT INTO order_items (order_id, sku_id, quantity, unit_price_cents) SELECT id, 'sku-' || :sku, 1, 450 FROM o),
p AS (INSERT INTO payments (order_id, payment_ref, state, amount_cents, currency, at) SELECT id, 'captured', 'held', 450, 'EUR', 1 FROM o)
INSERT INTO outbox (created_at, occurred_at, version, shard, copy, event_id, type, topic, key, value, headers, traceparent, tracestate)
	SELECT 1, 1, 1, 0, false, id::text, 'order', 'order_created', id::text::bytea, repeat('x', 200)::bytea, '', '', '' FROM o;
COMMIT;
`

// newOneByOne makes the database and leaves it alone: the service that made the tables is stopped.
func newOneByOne(tb testing.TB, skus int) *oneByOne {
	tb.Helper()
	pgbench, err := exec.LookPath("pgbench")
	if err != nil {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pgbench")
		if len(found) == 0 {
			tb.Fatal("no pgbench: it comes with Postgres, apt-get install postgresql")
		}
		pgbench = found[len(found)-1]
	}
	s := openShop(tb)
	s.stock(tb, skus)
	s.Part("order-api", 0).Terminate()
	script := filepath.Join(tb.TempDir(), "order.sql")
	if err := os.WriteFile(script, fmt.Appendf(nil, transaction, skus-1), 0o600); err != nil {
		tb.Fatal(err)
	}
	return &oneByOne{shop: s, dsn: s.Stores.Databases["order-api"], pgbench: pgbench, script: script}
}

var processed = regexp.MustCompile(`(?s)actually processed: (\d+).*tps = ([0-9.]+)`)

// run is how many orders a second it comes to.
func (o *oneByOne) run(tb testing.TB, clients int, during time.Duration) float64 {
	tb.Helper()
	out, err := exec.CommandContext(tb.Context(), o.pgbench, "-n", "-M", "prepared", "-c", strconv.Itoa(clients), "-j", "2",
		"-T", strconv.Itoa(int(during.Seconds())), "-f", o.script, o.dsn).CombinedOutput()
	m := processed.FindSubmatch(out)
	if err == nil && m == nil {
		err = errors.New("it does not say its tps")
	}
	if err != nil {
		tb.Fatalf("pgbench: %v\n%s", err, out)
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	o.orders, o.cut = o.orders+n, o.cut+int64(clients)
	rate, err := strconv.ParseFloat(string(m[2]), 64)
	if err != nil {
		tb.Fatal(err)
	}
	return rate
}
