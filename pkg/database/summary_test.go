package database

import (
	"fmt"
	"testing"
)

func TestSummaries(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"begin":                               "BEGIN",
		"-- ping":                             "_OTHER",
		"SELECT * FROM orders WHERE id = $1":  "SELECT orders",
		`SELECT * FROM "orders" LIMIT 1`:      "SELECT orders",
		"DELETE FROM parked WHERE topic = $1": "DELETE parked",
		"INSERT INTO consumer_offsets (a) VALUES ($1) ON CONFLICT DO NOTHING":                                                         "INSERT consumer_offsets",
		"UPDATE consumer_offsets SET next = $1 WHERE x = 'FROM y'":                                                                    "UPDATE consumer_offsets",
		"WITH v(id) AS (SELECT * FROM unnest($1::text[])) SELECT o.* FROM v JOIN orders o ON o.id = v.id FOR UPDATE OF o":             "SELECT orders",
		"WITH v(a, b) AS (SELECT value ->> 0 FROM json_each($1)) INSERT INTO items (a) SELECT v.a FROM v ON CONFLICT DO UPDATE SET a": "INSERT items",
		"WITH v(a) AS (SELECT * FROM unnest($1)) UPDATE allotments SET remaining = 1 FROM v WHERE true":                               "UPDATE allotments",
		"SELECT extract(epoch FROM clock_timestamp())::bigint":                                                                        "SELECT",
		"SELECT a FROM x WHERE a IS DISTINCT FROM b":                                                                                  "SELECT x",
		"SELECT count(*) FROM (SELECT 1 FROM orders) o JOIN a ON true JOIN b ON true JOIN c ON true":                                  "SELECT orders a b",
	} {
		if got := summarise(text); got != want {
			t.Errorf("%s\nis %q, want %q", text, got, want)
		}
	}
}

// TestSeriesAreBounded makes more statements than any service has.
func TestSeriesAreBounded(t *testing.T) {
	t.Parallel()
	var c catalogue
	summaries := map[string]bool{}
	for i := range 3 * mostStatements {
		summaries[c.of(fmt.Sprintf("SELECT a FROM table_%d", i)).summary] = true
	}
	if len(summaries) != mostSummaries+1 || !summaries["_OTHER"] {
		t.Errorf("%d summaries", len(summaries))
	}
}
