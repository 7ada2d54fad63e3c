package outbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

// migrated is db with the outbox's tables.
func migrated(t testing.TB, db *database.DB) *database.DB {
	t.Helper()
	if err := database.Migrate(t.Context(), db, outbox.Migrations); err != nil {
		t.Fatal(err)
	}
	return db
}

func appendEvents(t testing.TB, db *database.DB, events ...outbox.Event) error {
	t.Helper()
	return db.Tx(t.Context(), func(tx *database.Tx) error { return outbox.AppendTx(t.Context(), tx, events...) })
}

func unsent(t testing.TB, db *database.DB) (n int64) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM outbox").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAppendRefusesBeforeWriting(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		migrated(t, db)
		good := outbox.Event{ID: "a", Topic: "t", Value: []byte("v")}
		big := outbox.Event{ID: "big", Topic: "t", Key: make([]byte, 600<<10), Headers: []outbox.Header{{Key: "h", Value: make([]byte, 500<<10)}}}
		for name, bad := range map[string]outbox.Event{
			"NoID":        {Topic: "t"},
			"NoTopic":     {ID: "a"},
			"NUL":         {ID: "a\x00", Topic: "t"},
			"InvalidUTF8": {ID: "a", Type: "\xff", Topic: "t"},
			"TooLarge":    big,
		} {
			err := db.Tx(t.Context(), func(tx *database.Tx) error {
				if err := outbox.AppendTx(t.Context(), tx, good, bad); err == nil || errors.Is(err, outbox.ErrTooLarge) != (name == "TooLarge") {
					t.Errorf("%s: %v", name, err)
				}
				return nil // commits: the refusal itself must have written nothing
			})
			if err != nil {
				t.Error(err)
			}
		}
		if n := unsent(t, db); n != 0 {
			t.Errorf("%d rows were written beside a refused one", n)
		}
		big.Topic = "dlq-orders-v1"
		if err := appendEvents(t, db, big); err != nil {
			t.Errorf("a letter of what fits elsewhere: %v", err)
		}
		many := make([]outbox.Event, 5001)
		for i := range many {
			many[i] = outbox.Event{ID: fmt.Sprint(i), Topic: "t", Key: bytes.Repeat([]byte{0xff, 0}, i%7)}
		}
		if err := appendEvents(t, db, many...); err != nil {
			t.Error(err)
		}
		if n := unsent(t, db); n != 5002 {
			t.Errorf("%d rows, want 5002", n)
		}
	})
}
