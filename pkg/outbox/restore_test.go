package outbox_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

func exec(t testing.TB, db *database.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// ahead is what a dump of a busy server leaves in a young one.
const ahead = `UPDATE outbox_cursors SET done = '900000000:900000000:'`

// send appends versions of key k and waits until they were sent.
func send(t *testing.T, db *database.DB, versions ...int) {
	t.Helper()
	for _, v := range versions {
		if err := appendEvents(t, db, event("k", v)); err != nil {
			t.Fatal(err)
		}
	}
	_, stop := start(t, db, &broker{})
	eventually(t, "the first events are sent", quiet(t, db))
	stop()
}

func TestRestoredElsewhereEventsFlow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		restore []string
		want    map[string]int // how often each event comes after the restore
	}{
		"RowsAndCursorAhead": {
			[]string{`UPDATE outbox SET xid = '800000000' WHERE version < 3`, `UPDATE outbox SET xid = '900000010' WHERE version = 3`, ahead},
			map[string]int{"k/3": 1, "k/4": 1, "k/5": 1},
		},
		"RowsAhead": {
			[]string{`UPDATE outbox SET xid = '900000010' WHERE version = 3`},
			map[string]int{"k/3": 1, "k/4": 1, "k/5": 1},
		},
		"CursorAheadAndOutboxEmptied": {
			[]string{`DELETE FROM outbox`, ahead},
			map[string]int{"k/4": 1, "k/5": 1},
		},
		"CursorAheadAndIdsBeginAnew": {
			[]string{`TRUNCATE outbox RESTART IDENTITY`, ahead},
			map[string]int{"k/4": 1, "k/5": 1},
		},
		"InsideAWindow": {
			[]string{`UPDATE outbox SET xid = '800000000'`, `UPDATE outbox_cursors SET done = '700000000:700000000:',
				until = '900000000:900000000:', after = 1, high = 3, sent = 1`},
			map[string]int{"k/2": 1, "k/3": 1, "k/4": 1, "k/5": 1},
		},
		"ServerOvertookTheCursorUnseen": {
			[]string{`UPDATE outbox SET xid = '3' WHERE version < 3`, `UPDATE outbox_cursors SET cluster = 1`},
			map[string]int{"k/3": 1, "k/4": 1, "k/5": 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := migrated(t, servertest.Postgres(t))
			send(t, db, 1, 2)
			if err := appendEvents(t, db, event("k", 3)); err != nil {
				t.Fatal(err)
			}
			for _, q := range c.restore {
				exec(t, db, q)
			}
			if err := appendEvents(t, db, event("k", 4)); err != nil { // the services are back before the relay
				t.Fatal(err)
			}
			if name == "ServerOvertookTheCursorUnseen" {
				exec(t, db, `UPDATE outbox_cursors SET done = pg_current_snapshot()`)
			}
			b := &broker{}
			start(t, db, b)
			eventually(t, "nothing is unsent", quiet(t, db))
			if err := appendEvents(t, db, event("k", 5)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "a new event arrives", func() bool { return b.count()["k/5"] == 1 })
			if got := b.count(); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("arrived %v, want %v", got, c.want)
			}
			eventually(t, "nothing is unsent", quiet(t, db))
		})
	}
}

// age makes all rows as old as two hours.
func age(t *testing.T, db *database.DB) {
	t.Helper()
	exec(t, db, `UPDATE outbox SET created_at = created_at - $1`, 2*time.Hour.Milliseconds())
}

func TestOnlyOldSentRowsAreDeleted(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		migrated(t, db)
		sweep := func(want int64) {
			t.Helper()
			if n, err := outbox.SweepOnce(t.Context(), db, time.Hour); err != nil || n != want {
				t.Errorf("deleted %d, %v, want %d", n, err, want)
			}
		}
		if err := appendEvents(t, db, event("k", 1), event("j", 1)); err != nil {
			t.Fatal(err)
		}
		age(t, db)
		sweep(0) // old, but not sent
		send(t, db, 2)
		if err := appendEvents(t, db, event("k", 3), event("i", 1)); err != nil {
			t.Fatal(err)
		}
		sweep(2) // what is young stays though it was sent
		age(t, db)
		sweep(1) // what was not sent stays
		if n, err := outbox.Unsent(t.Context(), db); err != nil || n != 2 {
			t.Errorf("unsent = %d, %v, want 2", n, err)
		}
		b := &broker{}
		start(t, db, b)
		eventually(t, "the rest is sent", func() bool { return len(b.messages()) == 2 })
	})
}

func TestRepublishSendsAgainInOrder(t *testing.T) {
	t.Parallel()
	test := func(t *testing.T, dsn string) {
		t.Helper()
		db := migrated(t, servertest.Open(t, dsn))
		if err := appendEvents(t, db, event("old", 1)); err != nil {
			t.Fatal(err)
		}
		age(t, db)
		send(t, db, 1, 2, 3)
		b := &broker{}
		start(t, db, b)
		for round := 1; round <= 2; round++ { // copies are not copied
			cmd := outbox.Command(func() (*database.DB, error) { return servertest.Open(t, dsn), nil })
			var out bytes.Buffer
			cmd.SetOut(&out)
			cmd.SetArgs([]string{"republish", "--since", "1h"})
			if err := cmd.ExecuteContext(t.Context()); err != nil || !strings.HasPrefix(out.String(), "3 events") {
				t.Fatalf("%v: %s", err, out.String())
			}
			eventually(t, "they come again", func() bool { return len(b.messages()) == 3*round })
		}
		var ids []string
		for _, m := range b.messages() {
			ids = append(ids, header(m, "ce_id"))
		}
		if want := []string{"k/1", "k/2", "k/3", "k/1", "k/2", "k/3"}; !slices.Equal(ids, want) {
			t.Errorf("came again as %v", ids)
		}
	}
	t.Run("Postgres", func(t *testing.T) { t.Parallel(); test(t, servertest.PostgresDSN(t)) })
	t.Run("SQLite", func(t *testing.T) { t.Parallel(); test(t, servertest.SQLiteDSN(t)) })
}

func TestCommandsRefuseNonsense(t *testing.T) {
	t.Parallel()
	for _, since := range []string{"", "yesterday", "-1h"} {
		cmd := outbox.Command(func() (*database.DB, error) { return servertest.SQLite(t), nil })
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs([]string{"republish", "--since=" + since})
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "90m") {
			t.Errorf("--since %q: %v", since, err)
		}
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add(outbox.EncodeHeaders([]outbox.Header{{Key: "a", Value: []byte{0}}, {Key: "", Value: nil}}))
	f.Add([]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		headers, err := outbox.DecodeHeaders(b)
		if err != nil {
			return
		}
		again, err := outbox.DecodeHeaders(outbox.EncodeHeaders(headers))
		if err != nil || fmt.Sprintf("%#v", again) != fmt.Sprintf("%#v", headers) {
			t.Errorf("%#v became %#v, %v", headers, again, err)
		}
	})
}
