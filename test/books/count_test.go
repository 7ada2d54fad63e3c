package books

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/database"
)

const (
	paidOrder  = "0198c0de-0000-7000-8000-000000000001" // 2 tea, paid, a parcel waits
	sentOrder  = "0198c0de-0000-7000-8000-000000000002" // 3 tea, shipped, then refunded: its units are gone
	endedOrder = "0198c0de-0000-7000-8000-000000000003" // 1 tea, cancelled, its payment due for refund
)

// world is a small suite at rest, on the services' own tables.
var world = map[string]string{
	"order-api": `
		INSERT INTO allotments (sku_id, remaining, owed, granted, revoked) VALUES ('tea', 3, 0, 10, 2);
		INSERT INTO orders (id, user_id, status, payment, payment_ref, held_ref, total_cents, currency, reference, metadata, version, created_at, updated_at, expires_at, placed_by, fingerprint, live) VALUES
			('` + paidOrder + `', 'ann', 'paid', 'captured', 'p1', 'p1', 950, 'EUR', '', '', 2, 1, 1, 0, 'ann', '', true),
			('` + sentOrder + `', 'bob', 'refunded', 'captured', 'p2', 'p2', 1350, 'EUR', '', '', 4, 1, 1, 0, 'bob', '', true),
			('` + endedOrder + `', 'ann', 'cancelled', 'deferred', '', '', 450, 'EUR', '', '', 2, 1, 1, 9, 'ann', '', false);
		INSERT INTO order_items (order_id, sku_id, quantity, unit_price_cents) VALUES
			('` + paidOrder + `', 'tea', 2, 475), ('` + sentOrder + `', 'tea', 3, 450), ('` + endedOrder + `', 'tea', 1, 450);
		INSERT INTO payments (order_id, payment_ref, state, amount_cents, currency, at) VALUES
			('` + paidOrder + `', 'p1', 'held', 950, 'EUR', 1), ('` + sentOrder + `', 'p2', 'returned', 1350, 'EUR', 1),
			('` + endedOrder + `', 'p3', 'refused', 450, 'EUR', 1);`,
	"inventory": `
		INSERT INTO stock (sku, on_hand, ungranted, granted_unsold, booked, granted, revoked) VALUES ('tea', 5, 0, 3, 2, 10, 2);
		INSERT INTO bookings (order_id, state) VALUES ('` + paidOrder + `', 'booked'), ('` + sentOrder + `', 'shipped'), ('` + endedOrder + `', 'released');
		INSERT INTO movements (order_id, kind, sku, units, at_ms) VALUES
			('` + paidOrder + `', 'booked', 'tea', 2, 1), ('` + sentOrder + `', 'booked', 'tea', 3, 1), ('` + sentOrder + `', 'shipped', 'tea', 3, 1),
			('` + endedOrder + `', 'booked', 'tea', 1, 1), ('` + endedOrder + `', 'released', 'tea', 1, 1);`,
	"points": `
		INSERT INTO balances (user_id, points) VALUES ('ann', 9), ('bob', 0);
		INSERT INTO ledger (order_id, kind, user_id, points, at_ms) VALUES
			('` + paidOrder + `', 'award', 'ann', 9, 1), ('` + sentOrder + `', 'award', 'bob', 13, 1), ('` + sentOrder + `', 'take_back', 'bob', -13, 1);
		INSERT INTO consumer_offsets (consumer_group, topic, partition, first, next, applied, parked, dead) VALUES
			('points', 'order-status-changes', 0, 2, 12, 8, 1, 1);`,
	"dlq-replayer": `
		INSERT INTO letters (id, consumer_group, event_id, event_type, raw, topic, partition, record_offset, headers, omitted_bytes, state, deaths, cause, attempts, first_failed_at, last_failed_at, error_kind, error, collected_at) VALUES
			('l', 'points', 'e', '', false, 'order-status-changes', 0, 7, x'', 0, 'dead', 1, 'c', 3, 1, 1, 'failed', 'boom', 1);
		INSERT INTO failures (letter, topic, partition, record_offset, last_failed_at, first_failed_at, attempts, error_kind, error, via)
			SELECT id, topic, partition, record_offset, last_failed_at, first_failed_at, attempts, error_kind, error, '' FROM letters;`,
	"logistics": `
		INSERT INTO shipments (order_id, id, status) VALUES ('` + paidOrder + `', 'a', 'created'), ('` + sentOrder + `', 'b', 'shipped');`,
}

// heard is what the world has told Kafka; some of it twice.
var heard = []string{
	"order/" + paidOrder + "/1", "order/" + paidOrder + "/2", "order/" + paidOrder + "/2",
	"order/" + sentOrder + "/1", "order/" + sentOrder + "/2", "order/" + sentOrder + "/3", "order/" + sentOrder + "/4",
	"order/" + endedOrder + "/1", "order/" + endedOrder + "/2",
	"refund-due/" + sentOrder + "/p2", "refund-due/" + endedOrder + "/p3", "refund-due/" + endedOrder + "/p3",
}

// TestEachBookCanBeUnbalanced changes one fact of a world in balance: the books that count it say so, the others do not.
func TestEachBookCanBeUnbalanced(t *testing.T) {
	t.Parallel()
	at := settle(t)
	for name, c := range map[string]struct {
		service, wrong string
		heard          []string // instead of all
		off            []string
	}{
		"nothing":                        {},
		"a unit oversold":                {service: "order-api", wrong: `UPDATE allotments SET remaining = 4`, off: []string{"units for sale, per sku"}},
		"a unit owed that is not":        {service: "order-api", wrong: `UPDATE allotments SET remaining = 0, owed = 1`, off: []string{"units for sale, per sku"}},
		"a grant applied twice":          {service: "order-api", wrong: `UPDATE allotments SET granted = 20, remaining = 13`, off: []string{"units granted, per sku"}},
		"a revoke that never came":       {service: "order-api", wrong: `UPDATE allotments SET revoked = 0, remaining = 5`, off: []string{"units revoked, per sku"}},
		"a booking forgotten":            {service: "inventory", wrong: `DELETE FROM bookings WHERE state = 'booked'`, off: []string{"units booked for orders, per sku"}},
		"a booking that was not counted": {service: "inventory", wrong: `UPDATE stock SET booked = 1, granted_unsold = 4`, off: []string{"units set aside, per sku"}},
		"points awarded twice":           {service: "points", wrong: `UPDATE ledger SET points = 18 WHERE user_id = 'ann'; UPDATE balances SET points = 18 WHERE user_id = 'ann'`, off: []string{"points, per order"}},
		"points never taken back":        {service: "points", wrong: `DELETE FROM ledger WHERE kind = 'take_back'; UPDATE balances SET points = 13 WHERE user_id = 'bob'`, off: []string{"points, per order"}},
		"a balance of its own":           {service: "points", wrong: `UPDATE balances SET points = 10 WHERE user_id = 'ann'`, off: []string{"points, per customer"}},
		"a parcel missing":               {service: "logistics", wrong: `DELETE FROM shipments WHERE status = 'created'`, off: []string{"parcels, per order"}},
		"a parcel nobody ordered":        {service: "logistics", wrong: `INSERT INTO shipments (order_id, id, status) VALUES ('` + endedOrder + `', 'c', 'created')`, off: []string{"parcels, per order"}},
		"a parcel called off":            {service: "logistics", wrong: `INSERT INTO shipments (order_id, id, status) VALUES ('` + endedOrder + `', 'c', 'called_off')`},
		"an event lost":                  {heard: heard[1:], off: []string{"moves of orders, per order"}},
		"a refund nobody heard of":       {heard: heard[:len(heard)-2], off: []string{"payments, per payment"}},
		"a refund for a live order":      {heard: append(slices.Clone(heard), "refund-due/"+paidOrder+"/p1"), off: []string{"payments, per payment"}},
		"a payment kept for a dead order": {
			service: "order-api", wrong: `INSERT INTO payments (order_id, payment_ref, state, amount_cents, currency, at) VALUES ('` + endedOrder + `', 'p4', 'held', 450, 'EUR', 1)`,
			off: []string{"payments, per payment"},
		},
		"a letter not collected": {service: "dlq-replayer", wrong: `DELETE FROM failures`, off: []string{"dead letters, per group"}},
		"a letter made up":       {service: "dlq-replayer", wrong: `INSERT INTO failures SELECT letter, topic, partition, record_offset + 1, last_failed_at, first_failed_at, attempts, error_kind, error, via FROM failures`, off: []string{"dead letters, per group"}},
		"a record skipped":       {service: "points", wrong: `UPDATE consumer_offsets SET applied = applied - 1`, off: []string{"records, per group and partition"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stores := copied(t, at)
			if c.service != "" {
				change(t, stores.Databases[c.service], c.wrong)
			}
			dbs, err := open(stores)
			if err != nil {
				t.Fatal(err)
			}
			defer dbs.close()
			all, err := readStores(t.Context(), dbs)
			if err != nil {
				t.Fatal(err)
			}
			told := c.heard
			if told == nil {
				told = heard
			}
			seen := map[string]bool{}
			for _, id := range told {
				all.log.hear(id, seen)
			}
			var off []string
			for _, line := range all.lay().Lines {
				if !line.Balanced() {
					off = append(off, line.Name)
				}
			}
			if !slices.Equal(off, c.off) {
				t.Errorf("off: %q, want %q\n%s", off, c.off, all.lay())
			}
		})
	}
}

// settle makes the world on files in a folder of its own.
func settle(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for service, statements := range world {
		cfg := database.Defaults()
		cfg.DSN = config.Secret("sqlite:" + filepath.Join(dir, service))
		db, err := database.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		err = database.Migrate(t.Context(), db,
			tables(service, "../../services/"+service+"/internal/store/migrations"),
			tables("outbox", "../../pkg/outbox/migrations"), tables("kafka", "../../pkg/kafka/migrations"))
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		change(t, cfg.DSN.Reveal(), statements)
	}
	return dir
}

// copied is the world again, to be changed by one test.
func copied(t *testing.T, from string) Stores {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	s := Stores{Databases: map[string]string{}}
	for service := range world {
		s.Databases[service] = "sqlite:" + filepath.Join(dir, service)
	}
	return s
}

func tables(owner, dir string) database.Migrations {
	return database.Migrations{Owner: strings.ReplaceAll(owner, "-", "_"), Files: os.DirFS(dir)}
}

func change(t *testing.T, dsn, statements string) {
	t.Helper()
	db, err := sql.Open("sqlite", strings.TrimPrefix(dsn, "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), statements); err != nil {
		t.Fatal(err)
	}
}
