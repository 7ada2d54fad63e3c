package books

import (
	"context"
	"database/sql"
	"errors"
)

// everything is what was read, store by store.
type everything struct {
	sales   sales
	house   house
	rewards rewards
	parcels parcels
	letters letters
	log     log
	read    settlement
}

// count reads every store and lays the books side by side.
func count(ctx context.Context, s Stores, dbs databases) (Report, error) {
	all, err := readStores(ctx, dbs)
	if err != nil {
		return Report{}, err
	}
	if err := all.log.read(ctx, s); err != nil {
		return Report{}, err
	}
	return all.lay(), nil
}

func readStores(ctx context.Context, dbs databases) (all everything, err error) {
	for _, store := range []struct {
		service string
		read    func(ctx context.Context, tx *sql.Tx) error
	}{
		{"order-api", all.sales.read},
		{"inventory", all.house.read},
		{"points", all.rewards.read},
		{"logistics", all.parcels.read},
		{"dlq-replayer", all.letters.read},
	} {
		err := dbs.snapshot(ctx, store.service, func(tx *sql.Tx) error {
			return errors.Join(store.read(ctx, tx), all.read.read(ctx, tx))
		})
		if err != nil {
			return everything{}, err
		}
	}
	return all, nil
}

// lay puts what must agree side by side.
func (all *everything) lay() Report {
	sales, house, rewards := &all.sales, &all.house, &all.rewards
	return Report{Lines: []Line{
		{"units for sale, per sku", side("granted − revoked", sales.allotted), side("remaining − owed + in live orders", sales.accounted)},
		{"units in the house, per sku", side("on hand", house.onHand), side("ungranted + unsold + booked", house.placed)},
		{"units granted, per sku", side("by inventory", house.granted), side("to order-api", sales.granted)},
		{"units revoked, per sku", side("by inventory", house.revoked), side("from order-api", sales.revoked)},
		{"units booked for orders, per sku", side("in inventory", house.kept), side("in live orders", sales.live)},
		{"units set aside, per sku", side("in inventory", house.booked), side("in orders not shipped", sales.unshipped)},
		{"moves of orders, per order", side("versions", sales.versions), side("events in Kafka", all.log.moves)},
		{"points, per customer", side("balance", rewards.balances), side("ledger", rewards.byUser)},
		{"points, per order", side("ledger", rewards.byOrder), side("due", sales.points)},
		{"parcels, per order", side("to send or sent", all.parcels.standing), side("orders that need one", sales.parcels)},
		{"payments, per payment", side("taken", sales.taken), side("in a live order or due for refund", sum(sales.held, all.log.refunds))},
		{"records, per group and partition", side("passed", all.read.passed), side("applied + parked + dead", all.read.settled)},
		{"dead letters, per group", side("given up", all.read.dead), side("collected", all.letters.deaths)},
	}}
}

func side(name string, of map[string]int64) Side { return Side{Name: name, Of: of} }

// tally counts by key; its zero value is empty and can be added to.
type tally map[string]int64

func (t *tally) add(key string, n int64) {
	if *t == nil {
		*t = tally{}
	}
	(*t)[key] += n
}

func sum(tallies ...tally) tally {
	all := tally{}
	for _, t := range tallies {
		for key, n := range t {
			all[key] += n
		}
	}
	return all
}

// sales is what order-api says.
type sales struct {
	allotted, accounted, granted, revoked tally // per sku
	live, unshipped                       tally // per sku
	versions, points, parcels             tally // per order
	taken, held                           tally // per payment
}

func (s *sales) read(ctx context.Context, tx *sql.Tx) error {
	var sku, id, status, ref string
	var granted, revoked, remaining, owed, units, version, cents int64
	var live bool
	err := rows(ctx, tx, `SELECT sku_id, granted, revoked, remaining, owed FROM allotments`,
		[]any{&sku, &granted, &revoked, &remaining, &owed}, func() {
			s.allotted.add(sku, granted-revoked)
			s.accounted.add(sku, remaining-owed)
			s.granted.add(sku, granted)
			s.revoked.add(sku, revoked)
		})
	if err != nil {
		return err
	}
	err = rows(ctx, tx, `SELECT i.sku_id, o.status, CAST(sum(i.quantity) AS bigint) FROM orders o JOIN order_items i ON i.order_id = o.id
		WHERE o.live GROUP BY i.sku_id, o.status`, []any{&sku, &status, &units}, func() {
		s.accounted.add(sku, units)
		s.live.add(sku, units)
		if status == "created" || status == "confirmed" || status == "paid" {
			s.unshipped.add(sku, units)
		}
	})
	if err != nil {
		return err
	}
	err = rows(ctx, tx, `SELECT CAST(id AS text), status, version, total_cents, live FROM orders`,
		[]any{&id, &status, &version, &cents, &live}, func() { s.order(id, status, version, cents, live) })
	if err != nil {
		return err
	}
	return rows(ctx, tx, `SELECT CAST(p.order_id AS text), p.payment_ref, o.status FROM payments p LEFT JOIN orders o
		ON o.id = p.order_id AND o.held_ref = p.payment_ref AND p.state = 'held' AND o.status NOT IN ('cancelled', 'refunded')`,
		[]any{&id, &ref, (*text)(&status)}, func() {
			s.taken.add(id+" "+ref, 1)
			if status != "" {
				s.held.add(id+" "+ref, 1)
			}
		})
}

// order counts what one order means for the others. A live refunded order was shipped before it was refunded.
func (s *sales) order(id, status string, version, cents int64, live bool) {
	s.versions.add(id, version)
	switch status {
	case "paid", "shipped", "delivered":
		s.points.add(id, cents/100)
		s.parcels.add(id, 1)
	case "refunded":
		if live {
			s.parcels.add(id, 1)
		}
	}
}

// house is what inventory says, per sku.
type house struct{ onHand, placed, granted, revoked, kept, booked tally }

func (h *house) read(ctx context.Context, tx *sql.Tx) error {
	var sku string
	var onHand, ungranted, unsold, booked, granted, revoked, units int64
	err := rows(ctx, tx, `SELECT sku, on_hand, ungranted, granted_unsold, booked, granted, revoked FROM stock`,
		[]any{&sku, &onHand, &ungranted, &unsold, &booked, &granted, &revoked}, func() {
			h.onHand.add(sku, onHand)
			h.placed.add(sku, ungranted+unsold+booked)
			h.granted.add(sku, granted)
			h.revoked.add(sku, revoked)
			h.booked.add(sku, booked)
		})
	if err != nil {
		return err
	}
	return rows(ctx, tx, `SELECT m.sku, CAST(sum(m.units) AS bigint) FROM bookings b JOIN movements m ON m.order_id = b.order_id
		WHERE m.kind = 'booked' AND b.state <> 'released' GROUP BY m.sku`,
		[]any{&sku, &units}, func() { h.kept.add(sku, units) })
}

// rewards is what points says.
type rewards struct{ balances, byUser, byOrder tally }

func (r *rewards) read(ctx context.Context, tx *sql.Tx) error {
	var id, user string
	var points int64
	err := rows(ctx, tx, `SELECT user_id, points FROM balances`, []any{&user, &points}, func() { r.balances.add(user, points) })
	if err != nil {
		return err
	}
	return rows(ctx, tx, `SELECT CAST(order_id AS text), user_id, points FROM ledger`, []any{&id, &user, &points}, func() {
		r.byUser.add(user, points)
		r.byOrder.add(id, points)
	})
}

// parcels is what logistics says: one for each order, unless it was called off.
type parcels struct{ standing tally }

func (p *parcels) read(ctx context.Context, tx *sql.Tx) error {
	var id string
	return rows(ctx, tx, `SELECT CAST(order_id AS text) FROM shipments WHERE status <> 'called_off'`,
		[]any{&id}, func() { p.standing.add(id, 1) })
}

// text is a string that a database may leave out.
type text string

// Scan reads nothing as the empty string.
func (t *text) Scan(value any) error {
	var s sql.NullString
	if err := s.Scan(value); err != nil {
		return err
	}
	*t = text(s.String)
	return nil
}
