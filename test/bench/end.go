package bench

import (
	"database/sql"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/proto/event"
	"github.com/floodgate-dev/floodgate/test/suite"
)

// house is the whole suite, selling one item.
type house struct {
	*suite.Suite
	orders, bookings, ledger, steps *sql.DB
}

func openHouse(tb testing.TB) house {
	tb.Helper()
	return houseOf(tb, suite.Config{})
}

func houseOf(tb testing.TB, cfg suite.Config) house {
	tb.Helper()
	cfg.Env = append(cfg.Env, traced()...)
	s := suite.Start(tb, cfg)
	s.Sell("sku-0", 100_000_000)
	return house{s, s.Database(tb, "order-api"), s.Database(tb, "inventory"), s.Database(tb, "points"), s.Database(tb, "logistics")}
}

// settled waits until every order is booked, rewarded and has its shipment, all durably. Tables are counted only once each
// consumer has been told of as many orders as there are: counting them all the while would cost more than they do.
func (h house) settled(tb testing.TB, orders int64) {
	tb.Helper()
	for _, look := range []struct {
		db               *sql.DB
		what, topic, ask string
	}{
		{h.bookings, "booked", event.OrderCreated, `SELECT COUNT(*) FROM bookings`},
		{h.ledger, "rewarded", event.OrderStatusChanges, `SELECT COUNT(DISTINCT order_id) FROM ledger`},
		{h.steps, "to be shipped", event.OrderStatusChanges, `SELECT COUNT(*) FROM shipments`},
	} {
		count := func(enough func(n int64) bool, query string, args ...any) {
			suite.WaitFor(tb, 3*time.Minute, func() error {
				var n int64
				if err := look.db.QueryRowContext(tb.Context(), query, args...).Scan(&n); err != nil {
					return err
				}
				if !enough(n) {
					return fmt.Errorf("%d of %d orders are %s", n, orders, look.what)
				}
				return nil
			})
		}
		count(func(n int64) bool { return n >= orders }, `SELECT COALESCE(SUM(next - first), 0) FROM consumer_offsets WHERE topic LIKE '%' || $1`, look.topic)
		count(func(n int64) bool { return n == orders }, look.ask)
	}
}

// waits are the times from an order's acceptance to its shipment, by the databases' clocks, of orders accepted since then.
func (h house) waits(tb testing.TB, since int64) tally {
	tb.Helper()
	accepted := map[string]int64{}
	read := func(db *sql.DB, note func(id string, ms int64), query string, args ...any) {
		rows, err := db.QueryContext(tb.Context(), query, args...)
		if err != nil {
			tb.Fatal(err)
		}
		defer func() { _ = rows.Close() }() // rows.Err says what went wrong
		for rows.Next() {
			var id string
			var ms int64
			if err := rows.Scan(&id, &ms); err != nil {
				tb.Fatal(err)
			}
			note(id, ms)
		}
		if err := rows.Err(); err != nil {
			tb.Fatal(err)
		}
	}
	read(h.orders, func(id string, ms int64) { accepted[id] = ms }, `SELECT id::text, created_at FROM orders WHERE created_at >= $1`, since)
	waits := newDesks()
	read(h.steps, func(id string, ms int64) {
		if from, known := accepted[id]; known {
			waits.note(0, -1, http.StatusCreated, time.Duration(max(0, ms-from))*time.Millisecond)
		}
	}, `SELECT order_id::text, at_ms FROM steps WHERE status = 'created'`)
	return waits.together(0)
}

// spent is what everything that takes part has spent of the processors' time.
func (h house) spent(tb testing.TB) spent {
	tb.Helper()
	all := shop{Suite: h.Suite}.spent(tb)
	for _, p := range h.All() {
		all[p.Service] = cpu(p.PID())
	}
	return all
}

// endToEnd measures how many orders a second are booked, rewarded and set to be shipped, all durable, and how long an order
// takes to get there at half of that. Then it looks at what the programs take.
func endToEnd(b *testing.B, r *report, who []string, rounds int, during time.Duration) {
	b.Helper()
	r.chapter("From the order to the parcel", "The whole suite, one replica each. A rate counts until the last order of a load is booked by inventory, rewarded by points and has its shipment, all committed. "+
		"Then open loop at half of that rate: how long from an order's acceptance to its shipment, by the databases' clocks.")
	h := openHouse(b)
	addr := h.Part("order-api", 0).Addr
	var total int64
	for round := range rounds {
		before, began := h.spent(b), time.Now()
		t := closed(b.Context(), addr, customers, during, orders(fmt.Sprint("end-", round, "-"), who, 1, 1))
		total += t.status[http.StatusCreated] + t.status[0]
		h.settled(b, total)
		rate := float64(t.status[http.StatusCreated]) / time.Since(began).Seconds()
		each, sum := h.spent(b).since(before, t.status[http.StatusCreated])
		progress("%-40s %7.0f/s  %v", rowEnd, rate, t)
		r.sample(rowEnd, "orders/s", rate)
		r.detail(rowEnd+", CPU in all", "µs/order", sum)
		for part, µs := range each {
			r.detail(rowEnd+", "+part, "µs/order", µs)
		}
	}
	half := r.value(rowEnd) / 2
	for round := range rounds {
		var since int64
		if err := h.orders.QueryRowContext(b.Context(), `SELECT MAX(created_at) + 1 FROM orders`).Scan(&since); err != nil {
			b.Fatal(err)
		}
		t := open(b.Context(), addr, half, 4*customers, during, orders(fmt.Sprint("calm-", round, "-"), who, 1, 1))
		total += t.status[http.StatusCreated] + t.status[0]
		h.settled(b, total)
		w := h.waits(b, since)
		progress("%-40s p50 %.0f ms, p99 %.0f ms", rowWait, w.ms(50), w.ms(99))
		r.sample(rowWait+", p50", "ms", w.ms(50))
		r.sample(rowWait+", p99", "ms", w.ms(99))
	}
	h.Balance()
	r.against(rowEnd, hot.row())
	footprint(b, r, h, who, during)
}

const (
	rowEnd  = "end to end: booked, rewarded, to be shipped"
	rowWait = "from 201 to the shipment, at half of it"
)
