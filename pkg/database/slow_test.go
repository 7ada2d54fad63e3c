package database_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/pkg/telemetry"
)

// slowed is a database of the test's own with a table of many rows, and the log of its slow statements as a service writes it.
type slowed struct {
	*database.DB

	tel *telemetry.Telemetry
	log bytes.Buffer
}

func slowly(t *testing.T) *slowed {
	t.Helper()
	s := &slowed{}
	var err error
	if s.tel, err = telemetry.NewTo(&s.log, "test", telemetry.Defaults()); err != nil {
		t.Fatal(err)
	}
	cfg := database.Defaults()
	cfg.DSN, cfg.Slow = config.Secret(servertest.PostgresDSN(t)), 50*time.Millisecond
	if s.DB, err = database.OpenObserved(cfg, database.Observers{Log: s.tel.Log, Meter: s.tel.Meter, Tracer: s.tel.Tracer}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`CREATE TABLE things (id int PRIMARY KEY, word text)`, `INSERT INTO things SELECT i, 'w' || i FROM generate_series(1, 10000) i`, `ANALYZE things`} {
		if _, err := s.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// events are those of statements with this summary. The database is closed first, so that none is still asked about, and then
// the log, so that all is written.
func (s *slowed) events(t *testing.T, summary string) []map[string]any {
	t.Helper()
	if err := errors.Join(s.Close(), s.tel.Shutdown(t.Context())); err != nil {
		t.Fatal(err)
	}
	var found []map[string]any
	for line := range strings.Lines(s.log.String()) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e["summary"] == summary {
			found = append(found, e)
		}
	}
	return found
}

func TestASlowStatementIsToldWithItsPlanOnceAMinute(t *testing.T) {
	t.Parallel()
	db := slowly(t)
	for range 3 {
		var n int
		if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM things WHERE word = $1 AND (SELECT pg_sleep(0.06)) IS NOT NULL`, "w77").Scan(&n); err != nil || n != 1 {
			t.Fatal(n, err)
		}
	}
	if err := db.QueryRowContext(t.Context(), `SELECT id FROM things WHERE id = $1`, 5).Scan(new(int)); err != nil {
		t.Fatal(err)
	}
	told := db.events(t, "SELECT things")
	plans := 0
	for _, e := range told {
		if plan, has := e["plan"].(string); has {
			plans++
			if !strings.Contains(plan, "Seq Scan on things") {
				t.Errorf("the plan is %s", plan)
			}
		}
		if text := e["statement"].(string); !strings.Contains(text, "word = $1") || e["msg"] != "slow statement" {
			t.Errorf("the event is %v", e)
		}
	}
	if len(told) != 3 || plans != 1 {
		t.Errorf("%d events and %d plans of three slow statements and a fast one, want 3 and 1\n%s", len(told), plans, &db.log)
	}
	if strings.Contains(db.log.String(), "w77") {
		t.Errorf("the log tells what was asked for:\n%s", &db.log)
	}
}

// TestASlowStatementIsToldInTheTraceOfItsRequest, with its plan, which is asked for beside the request, and without, whether or
// not the trace is recorded.
func TestASlowStatementIsToldInTheTraceOfItsRequest(t *testing.T) {
	t.Parallel()
	db := slowly(t)
	for id := range byte(3) {
		ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{id + 1}, SpanID: trace.SpanID{id + 1}, TraceFlags: trace.TraceFlags(id % 2),
		}))
		if _, err := db.ExecContext(ctx, `UPDATE things SET word = 'new' WHERE id = $1 AND (SELECT pg_sleep(0.06)) IS NOT NULL`, int(id)); err != nil {
			t.Fatal(err)
		}
	}
	told := map[any]bool{}
	for _, e := range db.events(t, "UPDATE things") {
		told[e["trace_id"]] = e["span_id"] != nil
	}
	for _, id := range []string{"01", "02", "03"} {
		if !told[id+strings.Repeat("0", 30)] {
			t.Errorf("no slow statement is told of in trace %s\n%s", id, &db.log)
		}
	}
}

// TestASlowBatchIsToldWithThePlanOfEach, and nothing of it runs again.
func TestASlowBatchIsToldWithThePlanOfEach(t *testing.T) {
	t.Parallel()
	db := slowly(t)
	words := database.NewValues(database.Col("id", "int", []int{-1}), database.Col("word", "text", []string{"new"}))
	err := db.Tx(t.Context(), func(tx *database.Tx) error {
		return tx.ExecAll(t.Context(),
			database.Write("insert", words, `INSERT INTO things (id, word) SELECT v.id, v.word FROM v WHERE pg_sleep(0.06) IS NOT NULL`),
			database.Write("update", words, `UPDATE things SET word = v.word FROM v WHERE things.id = v.id`))
	})
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := db.QueryRowContext(context.WithoutCancel(t.Context()), `SELECT count(*) FROM things`).Scan(&n); err != nil || n != 10_001 {
		t.Errorf("%d rows, %v", n, err)
	}
	told := db.events(t, "BATCH INSERT things")
	if len(told) != 1 {
		t.Fatalf("events %v\n%s", told, &db.log)
	}
	if plan, _ := told[0]["plan"].(string); !strings.Contains(plan, "Insert on things") || !strings.Contains(plan, "Update on things") {
		t.Errorf("the plan is %s", plan)
	}
}

// TestAPipelineIsNamedAfterItsFirstQuestion, not after the BEGIN that travels with it.
func TestAPipelineIsNamedAfterItsFirstQuestion(t *testing.T) {
	t.Parallel()
	db := slowly(t)
	words := database.NewValues(database.Col("id", "int", []int{1}))
	err := db.Pipeline(t.Context(), func(p *database.Pipeline) error {
		return p.Ask(t.Context(), database.Ask("ask", words, `SELECT things.id FROM v JOIN things ON things.id = v.id WHERE (SELECT pg_sleep(0.06)) IS NOT NULL`,
			func(row database.Row) error { return row.Scan(new(int)) }))
	})
	if err != nil {
		t.Fatal(err)
	}
	if told := db.events(t, "BATCH SELECT things"); len(told) != 1 {
		t.Errorf("events %v\n%s", told, &db.log)
	}
}
