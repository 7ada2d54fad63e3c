package console

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

// BenchmarkAMillionLetters asks for pages of a console with a million letters of fifty causes, all of the last hour, in
// Postgres, and reports the time that 95 of 100 answers take. The aim is less than 100 ms for each.
//
//	go test -run '^$' -bench AMillionLetters ./services/dlq-replayer/internal/console
func BenchmarkAMillionLetters(b *testing.B) {
	const letters, causes = 1_000_000, 50
	s := openOn(b, servertest.Postgres(b))
	conn, err := s.DB.Conn(b.Context())
	must(b, err)
	for _, statement := range []string{
		`SET statement_timeout = 0`,
		fmt.Sprintf(`INSERT INTO letters (id, consumer_group, event_id, event_type, raw, topic, partition, record_offset, key, value, headers, omitted_bytes,
				state, deaths, cause, attempts, first_failed_at, last_failed_at, error_kind, error, collected_at)
			SELECT md5(i::text), (ARRAY['points','inventory','logistics','order-api'])[i %% 4 + 1], 'e-' || i, (ARRAY['floodgate.order.v1.OrderCreated','floodgate.order.v1.OrderStatusChanged'])[i %% 2 + 1],
				i %% 100 = 0, (ARRAY['order_created','order-status-changes','stock-changes'])[i %% 3 + 1], i %% 12, i, convert_to('k-' || i %% 100000, 'UTF8'), decode(md5(i::text), 'hex'), ''::bytea, 0,
				CASE WHEN i %% 10 = 0 THEN 'applied' ELSE 'dead' END, 1, md5((i %% %[2]d)::text), 3, now.ms - i %% 3600000, now.ms - i %% 3600000,
				(ARRAY['failed','malformed-order','undecodable'])[i %% 3 + 1], 'order ' || md5(i::text) || ' is odd in way ' || i %% 977, now.ms
			FROM generate_series(1, %[1]d) i, (SELECT (extract(epoch FROM now()) * 1000)::bigint AS ms) now`, letters, causes),
		`INSERT INTO failures SELECT id, topic, partition, record_offset, last_failed_at, first_failed_at, attempts, error_kind, error, '' FROM letters`,
		`INSERT INTO causes SELECT cause, min(consumer_group), min(error_kind), 'order <id> is odd', count(*) FILTER (WHERE state = 'dead'), min(first_failed_at), max(last_failed_at), max(id) FROM letters GROUP BY cause`,
		`INSERT INTO cause_minutes SELECT cause, last_failed_at / 60000, count(*) FROM letters GROUP BY cause, last_failed_at / 60000`,
		`INSERT INTO facets SELECT DISTINCT consumer_group, topic, event_type, error_kind FROM letters`,
		`VACUUM ANALYZE letters`, `VACUUM ANALYZE failures`, `VACUUM ANALYZE causes`, `VACUUM ANALYZE cause_minutes`,
	} {
		_, err := conn.ExecContext(b.Context(), statement)
		must(b, err)
	}
	must(b, conn.Close())
	ago := func(d time.Duration) string { return time.Now().Add(-d).UTC().Format(time.RFC3339) }
	for _, page := range []struct{ name, path string }{
		{"causes", "/"},
		{"letters", "/letters"},
		{"dead", "/letters?state=dead"},
		{"group", "/letters?state=dead&group=points"},
		{"cause", "/letters?state=dead&cause=c4ca4238a0b923820dcc509a6f75849b"},
		{"kind-and-topic", "/letters?kind=malformed-order&topic=order_created"},
		{"type", "/letters?type=floodgate.order.v1.OrderCreated&state=applied"},
		{"key", "/letters?key=k-4711"},
		{"text-rare", "/letters?text=c4ca4238a0b923820dcc509a6f75849b"},
		{"text-often", "/letters?text=odd"},
		{"time", "/letters?after=" + ago(30*time.Minute) + "&before=" + ago(29*time.Minute)},
		{"deep", "/letters?state=dead&cursor=NTAwMDAw"},
		{"letter", "/letters/c4ca4238a0b923820dcc509a6f75849b"},
		{"job-form", "/jobs/new?cause=c4ca4238a0b923820dcc509a6f75849b"},
		{"audit", "/audit"},
	} {
		b.Run(page.name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				if w := s.ask(http.MethodGet, page.path, "operator", nil); w.Code != http.StatusOK {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "ms-p95")
		})
	}
}
