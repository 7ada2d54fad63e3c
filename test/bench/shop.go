package bench

import (
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/test/suite"
)

// shop is an order-api with everything on and something to sell, alone on its servers: what follows an order is measured
// apart.
type shop struct {
	*suite.Suite
	db *sql.DB
}

// plenty is more than any load buys.
const plenty = 1_000_000_000

// stock makes the tables look after inventory granted plenty of each of the first skus.
func (s shop) stock(tb testing.TB, skus int) {
	tb.Helper()
	for _, statement := range []string{
		`INSERT INTO items (sku_id, name, unit_price_cents, currency, per_customer_limit, version, retired)
			SELECT 'sku-' || n, 'item ' || n, 450, 'EUR', 0, 1, false FROM generate_series(0, $1 - 1) n ON CONFLICT DO NOTHING`,
		`INSERT INTO grants (id, sku_id, units) SELECT 'bench-' || n, 'sku-' || n, $2 FROM generate_series(0, $1 - 1) n ON CONFLICT DO NOTHING`,
		`INSERT INTO allotments (sku_id, remaining, owed) SELECT 'sku-' || n, $2, 0 FROM generate_series(0, $1 - 1) n ON CONFLICT DO NOTHING`,
	} {
		args := []any{skus, plenty}
		if !strings.Contains(statement, "$2") {
			args = args[:1]
		}
		if _, err := s.db.ExecContext(tb.Context(), statement, args...); err != nil {
			tb.Fatalf("stock %d skus: %v", skus, err)
		}
	}
	s.Part("order-api", 0).Terminate() // it hears of items by events, and these came by the back door
	s.Part("order-api", 0).Restart()
}

// audit is the book of a run: every unit that was granted is on the shelf or in an order, every 201 is an order, and no
// order is more than was answered or lost on the way. A run that fails it is void.
func (s shop) audit(tb testing.TB, accepted, lost int64) {
	tb.Helper()
	var off, rows int64
	err := s.db.QueryRowContext(tb.Context(), `SELECT
		(SELECT COUNT(*) FROM allotments a
			LEFT JOIN (SELECT sku_id, SUM(units) AS units FROM grants GROUP BY sku_id) g USING (sku_id)
			LEFT JOIN (SELECT i.sku_id, SUM(i.quantity) AS units FROM order_items i JOIN orders o ON o.id = i.order_id AND o.live GROUP BY i.sku_id) s USING (sku_id)
			WHERE COALESCE(g.units, 0) <> a.remaining - a.owed + COALESCE(s.units, 0) OR a.remaining < 0),
		(SELECT COUNT(*) FROM orders)`).Scan(&off, &rows)
	if err != nil {
		tb.Fatal(err)
	}
	if off != 0 {
		tb.Fatalf("the run is void: %d skus oversold or leaked", off)
	}
	if rows < accepted || rows > accepted+lost {
		tb.Fatalf("the run is void: %d orders are stored, %d were acknowledged and %d got no answer", rows, accepted, lost)
	}
}

// openShop starts order-api with settings of its own.
func openShop(tb testing.TB, env ...string) shop {
	tb.Helper()
	s := shop{Suite: suite.Start(tb, suite.Config{Services: []string{"order-api"}, Env: append(env, traced()...)})}
	s.db = s.Database(tb, "order-api")
	return s
}

// collector takes spans and forgets them, as long as the process lives: a service sends what it samples by default.
var collector = sync.OnceValue(func() string {
	return httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // what does not come is lost to nobody
	})).URL
})

// traced are the settings of a service that sends its spans somewhere.
func traced() []string {
	return []string{"FLOODGATE_OTLP_ENDPOINT=" + collector(), "FLOODGATE_OTLP_PROTOCOL=http/protobuf"}
}

func (s shop) addr() string { return s.Part("order-api", 0).Addr }

// echo is the ceiling, running.
type echo struct {
	*suite.Process
	addr string
}

// startEcho starts order-api's door with nothing behind it, with the settings of the shop's: how is serve or bare.
func startEcho(tb testing.TB, how string, s shop) echo {
	tb.Helper()
	port, ops := strconv.Itoa(servertest.FreePort(tb)), strconv.Itoa(servertest.FreePort(tb))
	e := echo{suite.NewProcess(tb, "echo-"+how, suite.Binary(tb, "echo"), how), "127.0.0.1:" + port}
	e.Env = append(slices.Clone(s.Part("order-api", 0).Env), "ORDER_API_PORT="+port, "ORDER_API_OPS_PORT="+ops)
	e.Start()
	suite.WaitFor(tb, 20*time.Second, func() error {
		conn, err := net.Dial("tcp", e.addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return e
}

// tokens are those of n customers, as a header says them.
func tokens(tb testing.TB, n int) []string {
	tb.Helper()
	all := make([]string, n)
	for i := range all {
		all[i] = "Bearer " + suite.Token(tb, fmt.Sprint("customer-", i))
	}
	return all
}

var began = time.Now()

// progress tells who waits what is being measured.
func progress(format string, args ...any) {
	_, _ = fmt.Fprintf(os.Stderr, "%6.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
}
