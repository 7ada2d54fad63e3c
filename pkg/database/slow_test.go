package database_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

// slowly is a database of the test's own with a table of many rows, and the log of its slow statements.
func slowly(t *testing.T) (*database.DB, *bytes.Buffer) {
	t.Helper()
	cfg := database.Defaults()
	cfg.DSN, cfg.Slow = config.Secret(servertest.PostgresDSN(t)), 50*time.Millisecond
	var log bytes.Buffer
	db, err := database.OpenObserved(cfg, database.Observers{Log: slog.New(slog.NewJSONHandler(&log, nil)), Meter: noop.NewMeterProvider()})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`CREATE TABLE things (id int PRIMARY KEY, word text)`, `INSERT INTO things SELECT i, 'w' || i FROM generate_series(1, 10000) i`, `ANALYZE things`} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	return db, &log
}

// events are those of statements with this summary; the database is closed first, so that none is still asked about.
func events(t *testing.T, db *database.DB, log *bytes.Buffer, summary string) []map[string]any {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	var found []map[string]any
	for line := range strings.Lines(log.String()) {
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
	db, log := slowly(t)
	for range 3 {
		var n int
		if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM things WHERE word = $1 AND (SELECT pg_sleep(0.06)) IS NOT NULL`, "w77").Scan(&n); err != nil || n != 1 {
			t.Fatal(n, err)
		}
	}
	if err := db.QueryRowContext(t.Context(), `SELECT id FROM things WHERE id = $1`, 5).Scan(new(int)); err != nil {
		t.Fatal(err)
	}
	told := events(t, db, log, "SELECT things")
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
		t.Errorf("%d events and %d plans of three slow statements and a fast one, want 3 and 1\n%s", len(told), plans, log)
	}
	if strings.Contains(log.String(), "w77") {
		t.Errorf("the log tells what was asked for:\n%s", log)
	}
}

// TestASlowBatchIsToldWithThePlanOfEach, and nothing of it runs again.
func TestASlowBatchIsToldWithThePlanOfEach(t *testing.T) {
	t.Parallel()
	db, log := slowly(t)
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
	told := events(t, db, log, "BATCH INSERT things")
	if len(told) != 1 {
		t.Fatalf("events %v\n%s", told, log)
	}
	if plan, _ := told[0]["plan"].(string); !strings.Contains(plan, "Insert on things") || !strings.Contains(plan, "Update on things") {
		t.Errorf("the plan is %s", plan)
	}
}

// TestAPipelineIsNamedAfterItsFirstQuestion, not after the BEGIN that travels with it.
func TestAPipelineIsNamedAfterItsFirstQuestion(t *testing.T) {
	t.Parallel()
	db, log := slowly(t)
	words := database.NewValues(database.Col("id", "int", []int{1}))
	err := db.Pipeline(t.Context(), func(p *database.Pipeline) error {
		return p.Ask(t.Context(), database.Ask("ask", words, `SELECT things.id FROM v JOIN things ON things.id = v.id WHERE (SELECT pg_sleep(0.06)) IS NOT NULL`,
			func(row database.Row) error { return row.Scan(new(int)) }))
	})
	if err != nil {
		t.Fatal(err)
	}
	if told := events(t, db, log, "BATCH SELECT things"); len(told) != 1 {
		t.Errorf("events %v\n%s", told, log)
	}
}
