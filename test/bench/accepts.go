package bench

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// counter adds up what a shop's loads came to, for its audit.
type counter struct{ accepted, lost int64 }

func (c *counter) add(t tally) tally {
	c.accepted += t.status[http.StatusCreated]
	c.lost += t.status[0]
	return t
}

// mix is one load on a shop: how many skus there are to choose from, and how many an order names.
type mix struct {
	gate        string
	skus, lines int
}

func (m mix) row() string {
	return fmt.Sprintf("accepts: gate %s, %s, %s", m.gate, many(m.skus, "sku"), many(m.lines, "line"))
}

func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return thousands(float64(n)) + " " + what + "s"
}

var (
	hot  = mix{"lua", 1, 1}
	wide = mix{"lua", 10_000, 1}

	mixes = []mix{
		hot,
		{"lua", 100, 1},
		wide,
		{"lua", 100, 3},
		{"lua", 10_000, 3},
		{"lock", 1, 1},
		{"lock", 100, 1},
		{"lock", 10_000, 1},
		{"lock", 100, 3},
		{"lock", 10_000, 3},
		{"off", 1, 1},
		{"off", 100, 1},
		{"off", 10_000, 1},
		{"off", 100, 3},
		{"off", 10_000, 3},
	}
)

// capacity compares what the door can do with what it does: echoes and orders take turns, so that a machine which slows
// down slows both.
func capacity(b *testing.B, r *report, who []string, rounds int, during time.Duration) {
	b.Helper()
	r.chapter("Orders a second", fmt.Sprintf("%d connections, each sends its next request when the last is answered; one load generator for every row but pgbench, which is its own. "+
		"Orders carry an Idempotency-Key and a token each of 1,000 customers; every protection, metrics, the access log and traces (1 of 100, sent by OTLP) are on. %s %s", customers, classicNote, pgbenchNote))
	gates := map[string]shop{"lua": openShop(b), "lock": openShop(b, "ORDER_API_GATE=lock"), "off": openShop(b, "ORDER_API_GATE=off")}
	for _, s := range gates {
		s.stock(b, 10_000)
	}
	ceiling := map[string]echo{rowBare: startEcho(b, "bare", gates["lua"]), rowEcho: startEcho(b, "serve", gates["lua"])}
	usual, prompt := startClassic(b, gates["lua"], "usual"), startClassic(b, gates["lua"], "prompt")
	single := map[int]*oneByOne{1: newOneByOne(b, 1), 10_000: newOneByOne(b, 10_000)}
	counts := map[string]*counter{"lua": {}, "lock": {}, "off": {}}

	for round := range rounds {
		only(b, gates, "")
		for _, name := range []string{rowBare, rowEcho} {
			ceiling[name].measure(b, r, name, who, during)
		}
		for i, m := range mixes {
			s := gates[m.gate]
			if only(b, gates, m.gate) {
				counts[m.gate].add(s.sweep(b, fmt.Sprintf("sweep-%d-", round), who, 10_000))
				counts[m.gate].add(closed(b.Context(), s.addr(), customers, time.Second, orders(fmt.Sprintf("warm-%d-%d-", round, i), who, m.skus, m.lines)))
			}
			before := s.spent(b)
			t := counts[m.gate].add(closed(b.Context(), s.addr(), customers, during, orders(fmt.Sprintf("%d-%d-%d-", round, m.skus, m.lines), who, m.skus, m.lines)))
			each, sum := s.spent(b).since(before, t.status[http.StatusCreated])
			progress("%-40s %7.0f/s  %v", m.row(), t.accepts(), t)
			r.sample(m.row(), "orders/s", t.accepts())
			r.detail(m.row()+", CPU in all", "µs/order", sum)
			for _, part := range parts {
				r.detail(m.row()+", "+part, "µs/order", each[part])
			}
		}
		only(b, gates, "")
		for _, c := range []struct {
			*classic

			name string
			skus int
		}{{usual, rowClassic, 1}, {usual, rowClassic100, 100}, {prompt, rowPrompt, 1}} {
			t := c.add(closed(b.Context(), c.addr, customers, during, orders("classic", who, c.skus, 1)))
			progress("%-40s %7.0f/s  %v", c.name, t.accepts(), t)
			if t.status[http.StatusCreated] == 0 {
				b.Fatalf("%s accepts nothing: %v", c.name, t)
			}
			r.sample(c.name, "orders/s", t.accepts())
		}
		for _, skus := range []int{1, 10_000} {
			rate := single[skus].run(b, customers, during)
			progress("%-40s %7.0f/s", rowSingle(skus), rate)
			r.sample(rowSingle(skus), "orders/s", rate)
		}
	}
	only(b, gates, "lua")
	besides(b, r, gates["lua"], counts["lua"], who, rounds, during)
	latency(b, r, gates["lua"], counts["lua"], who, rounds, during)
	for gate, s := range gates {
		s.audit(b, counts[gate].accepted, counts[gate].lost)
	}
	usual.audit(b)
	prompt.audit(b)
	for _, o := range single {
		o.audit(b, o.orders, o.cut)
	}
	neighbours(r)
}

// only lets the one of the shops run that is measured: those that wait for orders look for them all the while. It says
// whether that one has just begun.
func only(tb testing.TB, shops map[string]shop, measured string) (fresh bool) {
	tb.Helper()
	for name, s := range shops {
		p := s.Part("order-api", 0)
		if name != measured && p.Alive() {
			p.Terminate()
		}
	}
	if s, named := shops[measured]; named && !s.Part("order-api", 0).Alive() {
		s.Part("order-api", 0).Restart()
		return true
	}
	return false
}

// measure is a round of echoes, and what one of them costs.
func (e echo) measure(b *testing.B, r *report, name string, who []string, during time.Duration) {
	b.Helper()
	server, own := cpu(e.PID()), alone(os.Getpid())
	t := closed(b.Context(), e.addr, customers, during, orders("echo", who, 1, 1))
	used := cpu(e.PID()) - server + alone(os.Getpid()) - own
	progress("%-40s %7.0f/s  %v", name, t.accepts(), t)
	r.sample(name, "orders/s", t.accepts())
	r.detail(name+", CPU in all", "µs/order", float64(used.Microseconds())/float64(max(1, t.status[http.StatusCreated])))
}

// latency measures how long people wait at half of what the shop can take.
func latency(b *testing.B, r *report, s shop, count *counter, who []string, rounds int, during time.Duration) {
	b.Helper()
	r.chapter("How long an order takes", "Open loop at half of the capacity on one hot sku, gate `lua`: each request is sent at its moment and timed from it, whether or not earlier ones were answered.")
	half := r.value(hot.row()) / 2
	for round := range rounds {
		t := count.add(open(b.Context(), s.addr(), half, 4*customers, during, orders(fmt.Sprint("open-", round, "-"), who, 1, 1)))
		progress("%-40s %7.0f/s  %v", rowLatency, t.rate(http.StatusCreated), t)
		r.sample(rowLatency+", rate", "orders/s", t.accepts())
		for _, quantile := range []float64{50, 99, 99.9} {
			r.sample(fmt.Sprintf("%s, p%v", rowLatency, quantile), "ms", t.ms(quantile))
		}
	}
}

// neighbours says which row each is compared with, and draws them.
func neighbours(r *report) {
	for _, m := range mixes {
		r.against(m.row(), rowEcho)
	}
	r.against(rowEcho, rowBare)
	r.against(rowClassic, hot.row())
	r.against(rowPrompt, hot.row())
	r.against(rowClassic100, mix{"lua", 100, 1}.row())
	r.against(rowSingle(1), hot.row())
	r.against(rowSingle(10_000), wide.row())
	for _, name := range []string{rowRefusals, rowKeyedRefusals, rowRepeats, rowItem, rowOrder} {
		r.against(name, rowEcho)
	}
	var all []bar
	for _, of := range []struct {
		colour int
		rows   []string
	}{
		{1, []string{rowBare, rowEcho}},
		{0, []string{hot.row(), wide.row(), rowRefusals, rowRepeats}},
		{3, []string{rowSingle(1), rowSingle(10_000)}},
		{4, []string{rowClassic, rowPrompt, rowClassic100}},
	} {
		for _, name := range of.rows {
			all = append(all, bar{name, r.value(name), of.colour})
		}
	}
	const title = "Answers a second, side by side"
	r.chapters[0].pictures = append(r.chapters[0].pictures, picture{"bench-rates.svg", title, bars(title, fmt.Sprintf("%d connections", customers), all)})
	text := "\n| what one order costs, in µs | in all | " + "order-api | Postgres | Redis | Kafka | the load generator |\n|---|---|---|---|---|---|---|\n"
	for _, m := range mixes {
		text += fmt.Sprintf("| %s | %s |", m.row(), figure(r.value(m.row()+", CPU in all")))
		for _, part := range parts {
			text += " " + figure(r.value(m.row()+", "+part)) + " |"
		}
		text += "\n"
	}
	r.chapters[0].text += text
}

// besides measures what people do beside buying.
func besides(b *testing.B, r *report, s shop, count *counter, who []string, rounds int, during time.Duration) {
	b.Helper()
	if _, err := s.db.ExecContext(b.Context(), `INSERT INTO items (sku_id, name, unit_price_cents, currency, per_customer_limit, version, retired)
		VALUES ('nothing', 'nothing', 450, 'EUR', 0, 1, false)`); err != nil {
		b.Fatal(err)
	}
	if _, err := s.db.ExecContext(b.Context(), `INSERT INTO allotments (sku_id, remaining, owed) VALUES ('nothing', 0, 0)`); err != nil {
		b.Fatal(err)
	}
	s.stock(b, 1) // it restarts the service, which finds the other item too
	var id string
	if err := s.db.QueryRowContext(b.Context(), `SELECT id FROM orders WHERE user_id = 'customer-0' LIMIT 1`).Scan(&id); err != nil {
		b.Fatal(err)
	}
	keyed := func(r *fasthttp.Request, n int64) {
		unkeyed(who, "nothing")(r, n)
		r.Header.Set("Idempotency-Key", "none-"+strconv.FormatInt(n, 36))
	}
	for round := range rounds {
		for _, row := range []struct {
			name   string
			status int
			fill   ask
		}{
			{rowRefusals, http.StatusConflict, unkeyed(who, "nothing")},
			{rowKeyedRefusals, http.StatusConflict, keyed},
			{rowRepeats, http.StatusCreated, repeats("again-", who)},
			{rowItem, http.StatusOK, reads(who[0], "/api/v1/items/sku-0")},
			{rowOrder, http.StatusOK, reads(who[0], "/api/v1/orders/"+id)},
		} {
			t := closed(b.Context(), s.addr(), customers, during, row.fill)
			progress("%-40s %7.0f/s  %v", row.name, t.rate(row.status), t)
			r.sample(row.name, "answers/s", t.rate(row.status))
			if row.name == rowRepeats && round == 0 {
				count.accepted += min(int64(len(who)), t.status[http.StatusCreated])
			}
		}
	}
}

const (
	rowClassic       = "classic design, 1 sku"
	rowClassic100    = "classic design, 100 skus"
	rowPrompt        = "classic design, each event sent at once, 1 sku"
	rowRefusals      = "refusals, sold out"
	rowKeyedRefusals = "refusals, sold out, with a key"
	rowRepeats       = "repeats of an Idempotency-Key"
	rowItem          = "GET /items/:sku"
	rowOrder         = "GET /orders/:id"

	rowLatency = "accept at half of capacity"
	rowBare    = "echo, bare"
	rowEcho    = "echo behind the middleware"
)

func rowSingle(skus int) string {
	return "one transaction for each order (pgbench), " + many(skus, "sku")
}
