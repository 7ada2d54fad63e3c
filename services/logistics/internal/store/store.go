// Package store keeps shipments and the steps they took.
//
// It promises that an order has at most one shipment, that news moves it once, however often and in whatever order it
// comes, and that every step is announced by the transaction that takes it.
//
// Law 6: a transaction locks shipments sorted by order and no other shared rows.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/logistics/internal/shipment"
)

//go:embed migrations
var files embed.FS

// Migrations are the tables of logistics.
var Migrations = database.Migrations{Owner: "logistics", Files: database.Folder(files, "migrations")}

// ErrNoShipment says that there is no such shipment, or none yet.
var ErrNoShipment = errors.New("no such shipment")

// ErrCalledOff says that a carrier tells of a shipment that was never to leave.
var ErrCalledOff = errors.New("the shipment was called off")

// ID is the id of an order's shipment: the same, whoever makes it.
func ID(order uuid.UUID) string { return uuid.NewSHA1(order, []byte("shipment")).String() }

// Fact is one piece of news about an order.
type Fact struct {
	Order uuid.UUID
	News  shipment.News
	By    string
}

// step is one move of a shipment: how it stands after it, and who made it move.
type step struct {
	shipment shipment.Shipment
	by       string
}

// ApplyTx lets shipments hear facts in the order given and announces the steps that follow. It says for each fact
// whether it moved its shipment.
func ApplyTx(ctx context.Context, tx *database.Tx, facts []Fact) ([]bool, error) {
	if len(facts) == 0 {
		return nil, nil
	}
	now, fresh, err := lockTx(ctx, tx, facts)
	if err != nil {
		return nil, fmt.Errorf("lock shipments: %w", err)
	}
	steps, changed := hear(now, facts)
	if err := moveTx(ctx, tx, steps, fresh); err != nil {
		return nil, fmt.Errorf("move shipments: %w", err)
	}
	return changed, noteTx(ctx, tx, steps)
}

// lockTx makes the shipments of orders that were not heard of, as facts will leave them, and locks those of the others.
// It returns each order's shipment as it was before facts, and the orders whose shipment is fresh.
//
// Inserting first settles who is first: a second transaction with the same order waits here.
func lockTx(ctx context.Context, tx *database.Tx, facts []Fact) (now map[string]shipment.Shipment, fresh map[string]bool, err error) {
	now, fresh = map[string]shipment.Shipment{}, map[string]bool{}
	for _, f := range facts {
		order := f.Order.String()
		now[order] = shipment.Shipment{ID: ID(f.Order), Order: order}
	}
	last := maps.Clone(now)
	_, _ = hear(last, facts)
	orders := slices.Sorted(maps.Keys(last))
	rows, err := tx.QueryValues(ctx, values(orders, last), `INSERT INTO shipments (order_id, id, status)
		SELECT v.order_id, v.id, v.status FROM v WHERE true ORDER BY v.order_id ON CONFLICT DO NOTHING RETURNING order_id`)
	made, err := database.Collect(rows, err, func(r *sql.Rows) (order string, err error) {
		err = r.Scan(&order)
		return order, err
	})
	if err != nil {
		return nil, nil, err
	}
	for _, order := range made {
		fresh[order] = true
	}
	known := slices.DeleteFunc(orders, func(order string) bool { return fresh[order] })
	if len(known) == 0 {
		return now, fresh, nil
	}
	v := database.NewValues(database.Col("order_id", "uuid", known))
	rows, err = tx.QueryValues(ctx, v, selectShipment+` JOIN v ON v.order_id = s.order_id ORDER BY s.order_id`+tx.Dialect.ForUpdate())
	found, err := database.Collect(rows, err, scan)
	for _, s := range found {
		now[s.Order] = s
	}
	return now, fresh, err
}

func values(orders []string, as map[string]shipment.Shipment) database.Values {
	ids, statuses := make([]string, len(orders)), make([]string, len(orders))
	for i, order := range orders {
		ids[i], statuses[i] = as[order].ID, string(as[order].Status)
	}
	return database.NewValues(
		database.Col("order_id", "uuid", orders), database.Col("id", "uuid", ids), database.Col("status", "text", statuses))
}

// hear lets each order's shipment hear its news and lists the steps that follow, in the order of facts. now is moved
// along.
func hear(now map[string]shipment.Shipment, facts []Fact) (steps []step, changed []bool) {
	changed = make([]bool, len(facts))
	for i, f := range facts {
		s := now[f.Order.String()]
		for _, to := range s.Status.Hear(f.News) {
			s.Status, changed[i] = to, true
			steps = append(steps, step{shipment: s, by: f.By})
		}
		now[s.Order] = s
	}
	return steps, changed
}

// moveTx writes where the shipments stand that were there before; the fresh ones stand there already.
func moveTx(ctx context.Context, tx *database.Tx, steps []step, fresh map[string]bool) error {
	last := map[string]shipment.Shipment{}
	for _, s := range steps {
		if !fresh[s.shipment.Order] {
			last[s.shipment.Order] = s.shipment
		}
	}
	if len(last) == 0 {
		return nil
	}
	_, err := tx.ExecValues(ctx, values(slices.Sorted(maps.Keys(last)), last),
		"UPDATE shipments SET status = v.status FROM v WHERE shipments.order_id = v.order_id")
	return err
}

// noteTx appends steps to the ledger and announces them.
func noteTx(ctx context.Context, tx *database.Tx, steps []step) error {
	if len(steps) == 0 {
		return nil
	}
	orders, statuses, by := make([]string, len(steps)), make([]string, len(steps)), make([]string, len(steps))
	for i, s := range steps {
		orders[i], statuses[i], by[i] = s.shipment.Order, string(s.shipment.Status), s.by
	}
	v := database.NewValues(
		database.Col("order_id", "uuid", orders), database.Col("status", "text", statuses), database.Col("told_by", "text", by))
	rows, err := tx.QueryValues(ctx, v, `INSERT INTO steps (order_id, status, told_by, at_ms)
		SELECT v.order_id, v.status, v.told_by, t.now FROM v, (SELECT `+tx.Dialect.NowMS()+` AS now) t RETURNING at_ms`)
	at, err := database.Collect(rows, err, func(r *sql.Rows) (atMS int64, err error) {
		err = r.Scan(&atMS)
		return atMS, err
	})
	if err != nil {
		return fmt.Errorf("note steps: %w", err)
	}
	return announceTx(ctx, tx, steps, at[0])
}

// Hear lets a shipment hear what a carrier said and returns it as it then stands. The same news again changes nothing.
func Hear(ctx context.Context, db *database.DB, r shipment.Report) (after shipment.Shipment, err error) {
	err = db.Tx(ctx, func(tx *database.Tx) error {
		after, err = hearTx(ctx, tx, r)
		return err
	})
	if err != nil {
		return shipment.Shipment{}, fmt.Errorf("move shipment %s: %w", r.Shipment, err)
	}
	return after, nil
}

func hearTx(ctx context.Context, tx *database.Tx, r shipment.Report) (shipment.Shipment, error) {
	before, err := one(tx.QueryContext(ctx, selectShipment+" WHERE s.id = $1"+tx.Dialect.ForUpdate(), r.Shipment))
	if err != nil {
		return before, err
	}
	if before.Status == shipment.CalledOff {
		return before, ErrCalledOff
	}
	after, through := before.Hear(r)
	if after == before {
		return before, nil
	}
	_, err = tx.ExecContext(ctx, "UPDATE shipments SET status = $2, carrier = $3, tracking_no = $4 WHERE id = $1",
		after.ID, string(after.Status), after.Carrier, after.TrackingNo)
	if err != nil {
		return before, err
	}
	steps := make([]step, len(through))
	for i, status := range through {
		steps[i] = step{shipment: after, by: r.By}
		steps[i].shipment.Status = status
	}
	return after, noteTx(ctx, tx, steps)
}

// Of finds an order's shipment.
func Of(ctx context.Context, db *database.DB, order uuid.UUID) (shipment.Shipment, error) {
	s, err := one(db.QueryContext(ctx, selectShipment+" WHERE s.order_id = $1", order.String()))
	if err != nil {
		return s, fmt.Errorf("find the shipment of order %s: %w", order, err)
	}
	return s, nil
}

const selectShipment = "SELECT s.id, s.order_id, s.status, s.carrier, s.tracking_no FROM shipments s"

func scan(r *sql.Rows) (s shipment.Shipment, err error) {
	err = r.Scan(&s.ID, &s.Order, &s.Status, &s.Carrier, &s.TrackingNo)
	return s, err
}

func one(rows *sql.Rows, err error) (shipment.Shipment, error) {
	found, err := database.Collect(rows, err, scan)
	if err != nil {
		return shipment.Shipment{}, err
	}
	if len(found) == 0 {
		return shipment.Shipment{}, ErrNoShipment
	}
	return found[0], nil
}
