package telemetry_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/test/suite"
)

// exemplified are the histograms whose buckets carry examples, and series of theirs that the recorded order passes, with its
// trace, or the recorded question.
var exemplified = []struct{ name, series, of string }{
	{"http_server_request_duration_seconds", `http_request_method="POST".*http_route="/api/v1/orders"`, traceID},
	{"floodgate_accept_queue_wait_seconds", ``, traceID},
	{"floodgate_accept_batch_size", ``, traceID},
	{"floodgate_outbox_ack_duration_seconds", ``, traceID},
	{"messaging_client_operation_duration_seconds", `messaging_destination_name="order_created".*messaging_operation_name="send"`, traceID},
	{"messaging_client_operation_duration_seconds", `messaging_destination_name="stock-changes".*messaging_operation_name="send"`, traceID},
	{"messaging_process_duration_seconds", `messaging_destination_name="order_created"`, traceID},
	{"db_client_operation_duration_seconds", `db_query_summary="BATCH [^"]+".*db_system_name="postgresql"`, traceID},
	{"db_client_operation_duration_seconds", `db_system_name="redis"`, traceID},
	{"rpc_client_call_duration_seconds", ``, askingID},
	{"rpc_server_call_duration_seconds", ``, askingID},
}

// histogram is one that a query asks for quantiles.
var histogram = regexp.MustCompile(`(\w+)_bucket\b`)

// examples checks that the buckets that one order passed carry its trace, as Prometheus asks for it, and that no panel shows
// examples of what has none.
func examples(t *testing.T, s *suite.Suite) {
	t.Helper()
	known := map[string]bool{}
	for _, e := range exemplified {
		known[e.name] = true
	}
	shown := 0
	for file, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				if !target.Exemplar {
					continue
				}
				shown++
				for _, of := range histogram.FindAllStringSubmatch(target.Expr, -1) {
					if !known[of[1]] {
						t.Errorf("%s: %s shows examples of %s, which nobody looks for", file, p.Title, of[1])
					}
				}
			}
		}
	}
	if shown < 10 {
		t.Errorf("%d questions show examples: too few to say anything", shown)
	}
	suite.WaitFor(t, 10*time.Second, func() error {
		var text string
		for _, part := range s.All() {
			text += openMetrics(t, part.Ops)
		}
		var missing error
		for _, e := range exemplified {
			with := regexp.MustCompile(`(?m)^` + e.name + `_bucket\{.*` + e.series + `.*\} \d+ # \{.*trace_id="` + e.of + `"`)
			if !with.MatchString(text) {
				missing = errors.Join(missing, fmt.Errorf("no bucket of %s{%s} carries trace %s", e.name, e.series, e.of))
			}
		}
		return missing
	})
}

// openMetrics are the metrics in the format that has room for examples.
func openMetrics(t *testing.T, ops string) string {
	t.Helper()
	ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+ops+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	ask.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }() // it was read, or its error is told
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
