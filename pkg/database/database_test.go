package database_test

import (
	"context"
	"testing"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

func TestValuesInsertAndUpdate(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		ctx := t.Context()
		id := "0190e2a4-0000-7000-8000-000000000001"
		err := db.Tx(ctx, func(tx *database.Tx) error {
			blob := map[database.Dialect]string{database.Postgres: "bytea", database.SQLite: "blob"}[db.Dialect]
			if _, err := tx.ExecContext(ctx, "CREATE TABLE l (id "+map[database.Dialect]string{database.Postgres: "uuid", database.SQLite: "text"}[db.Dialect]+" PRIMARY KEY, n bigint NOT NULL, b "+blob+")"); err != nil {
				return err
			}
			v := database.NewValues(
				database.Col("id", "uuid", []string{id, "0190e2a4-0000-7000-8000-000000000002"}),
				database.Col("n", "bigint", []int64{1, 2}),
				database.Col("b", "bytea", [][]byte{{0, 255}, nil}))
			if _, err := tx.ExecValues(ctx, v, "INSERT INTO l (id, n, b) SELECT v.id, v.n + $1, v.b FROM v WHERE true ON CONFLICT DO NOTHING", 10); err != nil {
				return err
			}
			_, err := tx.ExecValues(ctx, v, "UPDATE l SET n = l.n + v.n FROM v WHERE l.id = v.id")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var n int64
		var b []byte
		if err := db.QueryRowContext(ctx, "SELECT n, b FROM l WHERE id = $1", id).Scan(&n, &b); err != nil {
			t.Fatal(err)
		}
		if n != 12 || string(b) != "\x00\xff" {
			t.Errorf("n = %d, b = %x, want 12 and 00ff", n, b)
		}
		var now int64
		if err := db.QueryRowContext(context.Background(), "SELECT "+db.Dialect.NowMS()).Scan(&now); err != nil || now < 1_700_000_000_000 {
			t.Errorf("now = %d, %v", now, err)
		}
	})
}
