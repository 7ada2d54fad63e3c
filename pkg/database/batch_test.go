package database_test

import (
	"strings"
	"testing"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

func TestExecAll(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		if _, err := db.ExecContext(ctx, "CREATE TABLE counted (n integer PRIMARY KEY)"); err != nil {
			t.Fatal(err)
		}
		write := func(what string, n ...int32) database.Statement {
			return database.Write(what, database.NewValues(database.Col("n", "integer", n)), "INSERT INTO counted (n) SELECT v.n FROM v")
		}
		count := func() (n int) {
			if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM counted").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}

		err := db.Tx(ctx, func(tx *database.Tx) error {
			return tx.ExecAll(ctx, write("the first", 1, 2), write("nothing"), write("the second", 3))
		})
		if err != nil || count() != 3 {
			t.Fatalf("%d rows and %v, want 3", count(), err)
		}
		runs := 0
		err = db.Tx(ctx, func(tx *database.Tx) error {
			runs++
			return tx.ExecAll(ctx, write("one more", 4), write("one again", 3), write("the last", 5))
		})
		if _, unique := database.UniqueViolation(err); !unique || !strings.Contains(err.Error(), "one again") || runs != 1 {
			t.Errorf("%v after %d runs, want the unique key broken by one again", err, runs)
		}
		if n := count(); n != 3 {
			t.Errorf("%d rows, want the 3 of before: all or none", n)
		}
		// The connection goes back into the pool in order.
		if err := db.Tx(ctx, func(tx *database.Tx) error { return tx.ExecAll(ctx, write("later", 4)) }); err != nil || count() != 4 {
			t.Errorf("%d rows and %v, want 4", count(), err)
		}
	})
}
