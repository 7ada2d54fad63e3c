package bench

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// growth is one axis along which a shop grows, and what an order costs at each step of it.
type growth struct {
	file, what, one string // of many, of one
	steps           []int
}

func (g growth) row(step int) string {
	of := g.what
	if step == 1 {
		of = g.one
	}
	return "an order costs, " + thousands(float64(step)) + " " + of
}

// farthest is how far, in per cent, an order's cost at any step lies from that at the first.
func (g growth) farthest(r *report) float64 {
	var most float64
	first := r.value(g.row(g.steps[0]))
	for _, step := range g.steps[1:] {
		most = max(most, 100*math.Abs(share(r.value(g.row(step)), first)-1))
	}
	return most
}

// why tells what the parts spend at the first step and at the last.
func (g growth) why(r *report) func() string {
	return func() string {
		text := ""
		for _, part := range parts {
			from, to := r.value(g.row(g.steps[0])+", "+part), r.value(g.row(g.steps[len(g.steps)-1])+", "+part)
			text += fmt.Sprintf(", %s %.0f → %.0f", part, from, to)
		}
		return fmt.Sprintf("from %s to %s %s, in µs%s", thousands(float64(g.steps[0])), thousands(float64(g.steps[len(g.steps)-1])), g.what, text)
	}
}

// storesOf, skusOf and connectionsOf are the axes.
func storesOf(quick bool) growth {
	if quick {
		return growth{"growth-orders", "orders stored", "order stored", []int{1000, 10_000, 100_000}}
	}
	return growth{"growth-orders", "orders stored", "order stored", []int{10_000, 100_000, 1_000_000}}
}

func skusOf(quick bool) growth {
	if quick {
		return growth{"growth-skus", "skus", "sku", []int{1, 100, 10_000}}
	}
	return growth{"growth-skus", "skus", "sku", []int{1, 100, 10_000, 100_000}}
}

func connectionsOf() growth {
	return growth{"growth-connections", "connections", "connection", []int{1, 8, 64, 256, 1000}}
}

// grow measures what an order costs, in the processors' time of everything that takes part, as a shop grows.
func grow(b *testing.B, r *report, who []string, rounds int, during time.Duration, quick bool) {
	b.Helper()
	r.chapter("Growth", "Processor time of everything that takes part in an order (order-api, Postgres, Redis, Kafka, the load generator), by the kernel's counters, gate `lua`. "+
		"Stored orders are written by SQL beforehand, ten for each customer, with their lines and payments, and Postgres has analysed them. "+
		"Skus and connections grow in a shop that stocks the most skus there are; each of those that a step orders was sold once before, by a process that was "+
		"started for the round. With few connections a batch is few orders, so each pays for more of its COMMIT. Of 1,000 customers who come again at once most are turned away for "+
		"want of room (`admit_orders`), and who buys pays for their answers too.")
	stores, skus, connections := storesOf(quick), skusOf(quick), connectionsOf()
	var shops []shop
	accepted, lost := map[int]int64{}, map[int]int64{}
	count := func(i int, t tally) {
		accepted[i], lost[i] = accepted[i]+t.status[http.StatusCreated], lost[i]+t.status[0]
	}
	for i, n := range stores.steps {
		s := openShop(b)
		s.remember(b, n)
		s.stock(b, 1)
		s.Part("order-api", 0).Terminate() // only the one that is measured runs
		shops, accepted[i] = append(shops, s), int64(n)
		progress("%s orders are stored", thousands(float64(n)))
	}
	for round := range rounds {
		for i, n := range stores.steps {
			s := shops[i]
			s.Part("order-api", 0).Restart()
			count(i, closed(b.Context(), s.addr(), customers, time.Second, orders(fmt.Sprint("warm-", round, "-"), who, 1, 1)))
			count(i, s.cost(b, r, stores.row(n), customers, during, orders(fmt.Sprint("grown-", round, "-"), who, 1, 1)))
			s.Part("order-api", 0).Terminate()
		}
	}
	for i, s := range shops {
		s.audit(b, accepted[i], lost[i])
	}

	const wide = -1
	s := openShop(b)
	most := skus.steps[len(skus.steps)-1]
	s.stock(b, most)
	for round := range rounds {
		s.Part("order-api", 0).Terminate()
		s.Part("order-api", 0).Restart()
		count(wide, closed(b.Context(), s.addr(), customers, time.Second, orders(fmt.Sprint("warm-wide-", round, "-"), who, 1, 1)))
		for _, n := range connections.steps {
			count(wide, s.cost(b, r, connections.row(n), n, during, orders(fmt.Sprint("conns-", round, "-", n, "-"), who, 1, 1)))
		}
		for _, n := range skus.steps {
			count(wide, s.sweep(b, fmt.Sprint("sweep-", round, "-", n, "-"), who, n))
			count(wide, s.cost(b, r, skus.row(n), customers, during, orders(fmt.Sprint("wide-", round, "-", n, "-"), who, n, 1)))
		}
	}
	s.audit(b, accepted[wide], lost[wide])
	for _, g := range []growth{stores, skus, connections} {
		r.text(g.table(r))
		r.picture("bench-"+g.file+".svg", "What an order costs with more "+g.what, g.chart(r))
	}
}

// table has a line for each step and a column for each part.
func (g growth) table(r *report) string {
	text := fmt.Sprintf("\n| %s | µs an order in all | %s |\n|---|---|%s\n", g.what, strings.Join(parts, " | "), strings.Repeat("---|", len(parts)))
	for _, step := range g.steps {
		text += fmt.Sprintf("| %s | %s |", thousands(float64(step)), figure(r.value(g.row(step))))
		for _, part := range parts {
			text += " " + figure(r.value(g.row(step)+", "+part)) + " |"
		}
		text += "\n"
	}
	return text
}

// chart draws what an order costs in all, and in the parts that cost most.
func (g growth) chart(r *report) string {
	all := []line{{name: "all together"}, {name: partOrderAPI}, {name: partPostgres}, {name: partRedis}}
	for i := range all {
		for _, step := range g.steps {
			row := g.row(step)
			if i > 0 {
				row += ", " + all[i].name
			}
			all[i].points = append(all[i].points, point{float64(step), r.value(row)})
		}
	}
	return lines("What an order costs with more "+g.what, "µs of processor time", g.what, true, all)
}

// cost runs a closed load and samples what one of its orders cost in all, and in each part.
func (s shop) cost(b *testing.B, r *report, name string, customers int, during time.Duration, fill ask) tally {
	b.Helper()
	before := s.spent(b)
	t := closed(b.Context(), s.addr(), customers, during, fill)
	each, sum := s.spent(b).since(before, t.status[http.StatusCreated])
	progress("%-40s %7.0f µs  %v", name, sum, t)
	r.detail(name, "µs/order", sum)
	for _, part := range parts {
		r.detail(name+", "+part, "µs/order", each[part])
	}
	return t
}

// remember writes n accepted orders of the past, as order-api does, with a grant of the units they took. Their events are
// long sent and swept.
func (s shop) remember(tb testing.TB, n int) {
	tb.Helper()
	for _, statement := range []string{
		`INSERT INTO orders (id, user_id, status, payment, payment_ref, held_ref, total_cents, currency, reference, metadata, version, created_at,
				updated_at, expires_at, placed_by, idem_key, fingerprint)
			SELECT id, 'customer-' || n / 10, 'paid', 'captured', 'captured', 'captured', 450, 'EUR', '', '', 2, at, at, 0, 'customer-' || n / 10, 'stored-' || n,
				md5(n::text) FROM stored`,
		`INSERT INTO order_items (order_id, sku_id, quantity, unit_price_cents) SELECT id, 'sku-0', 1, 450 FROM stored`,
		`INSERT INTO payments (order_id, payment_ref, state, amount_cents, currency, at) SELECT id, 'captured', 'held', 450, 'EUR', at FROM stored`,
		`INSERT INTO grants (id, sku_id, units) SELECT 'stored', 'sku-0', COUNT(*) FROM stored`,
	} {
		if _, err := s.db.ExecContext(tb.Context(), `WITH stored AS (SELECT n, 1700000000000 + n AS at,
			(lpad(to_hex(1700000000000 + n), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid AS id
			FROM generate_series(1, $1::bigint) n) `+statement, n); err != nil {
			tb.Fatalf("store %d orders: %v", n, err)
		}
	}
	for _, statement := range []string{`VACUUM (ANALYZE) orders, order_items, payments`, `CHECKPOINT`} {
		if _, err := s.db.ExecContext(tb.Context(), statement); err != nil {
			tb.Fatal(err)
		}
	}
}

// sweep orders one unit of each of the first skus, fifty in an order: the gate, the caches and Postgres know them from then on.
func (s shop) sweep(tb testing.TB, load string, who []string, skus int) tally {
	tb.Helper()
	lines := min(skus, 50)
	fill := orders(load, who, 1, 1)
	t := counted(tb.Context(), s.addr(), int64(skus/lines), func(r *fasthttp.Request, n int64) {
		fill(r, n)
		body := append(make([]byte, 0, 2500), `{"items":[`...)
		for l := range lines {
			if l > 0 {
				body = append(body, ',')
			}
			body = fmt.Appendf(body, `{"skuId":%q,"quantity":1}`, skuName(lines*int(n-1)+l))
		}
		r.SetBodyRaw(append(body, "]}"...))
	})
	if t.status[http.StatusCreated] != int64(skus/lines) {
		tb.Fatalf("not all of what should be sold once is: %v", t)
	}
	return t
}
