package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// self is how order-api names itself where nobody asked for a move.
const self = "order-api"

// Cancel ends an order that is not paid; an order that was cancelled stays so and is no error. freed says how many more
// units can be sold now.
func (s *Store) Cancel(ctx context.Context, id, by, reason string) (o order.Order, freed map[string]int64, err error) {
	return s.end(ctx, id, order.Cancelled, by, reason)
}

// Refund ends an order that was paid, and is no error for one that was refunded before.
func (s *Store) Refund(ctx context.Context, id, by, reason string) (o order.Order, freed map[string]int64, err error) {
	return s.end(ctx, id, order.Refunded, by, reason)
}

func (s *Store) end(ctx context.Context, id string, to order.Status, by, reason string) (order.Order, map[string]int64, error) {
	if err := order.CheckText("reason", reason, 0, order.MaxReason); err != nil {
		return order.Order{}, nil, err
	}
	return s.change(ctx, id, func(_ *database.Tx, w *work, o *locked) error {
		if o.Status == to {
			return nil // it was asked twice, or somebody else was quicker: the wish is fulfilled
		}
		return w.move(o, to, by, reason)
	})
}

// Expire cancels at most limit orders whose money did not come in time, by the database's clock. What another sweeper
// holds is left to it.
func (s *Store) Expire(ctx context.Context, limit int) (expired []order.Order, freed map[string]int64, err error) {
	err = s.db.Tx(ctx, func(tx *database.Tx) error {
		expired, freed = nil, nil
		ids, err := dueTx(ctx, tx, limit)
		if err != nil || len(ids) == 0 {
			return err
		}
		w, err := s.lockTx(ctx, tx, ids)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := w.move(w.orders[id], order.Cancelled, self, order.Expired); err != nil {
				return err
			}
			expired = append(expired, w.orders[id].Order)
		}
		_, freed, err = w.writeTx(ctx, tx)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("expire orders: %w", err)
	}
	return expired, freed, nil
}

// dueTx locks orders that have waited too long. The clock stands in a query of its own, so that it is read once and the
// index on due_at can be used.
func dueTx(ctx context.Context, tx *database.Tx, limit int) ([]string, error) {
	lock := tx.Dialect.ForUpdate()
	if lock != "" {
		lock += " SKIP LOCKED"
	}
	rows, err := tx.QueryContext(ctx, `SELECT id FROM orders WHERE due_at <= (SELECT `+tx.Dialect.NowMS()+`)
		ORDER BY due_at LIMIT $1`+lock, limit)
	ids, err := database.Collect(rows, err, scanText)
	slices.Sort(ids)
	return ids, err
}

// locked is an order whose row this transaction holds, and how it stood when it was locked.
type locked struct {
	order.Order
	held       string // the payment that is in, "" for none
	live       bool
	was        order.Status
	wasVersion int64
	touched    bool
}

// work is what one transaction does to orders that it holds: moves, payments and entries are collected, and written in
// one statement each.
type work struct {
	orders   map[string]*locked
	now      time.Time
	events   []outbox.Event
	entries  []order.Entry
	arrived  []payment        // new payments
	returned []payment        // payments that were held until their order ended
	units    map[string]int64 // what goes back to the allotments
}

// lockTx locks orders by id, always in that order. Those that do not exist are missing in the answer.
func (s *Store) lockTx(ctx context.Context, tx *database.Tx, ids []string) (*work, error) {
	return s.readTx(ctx, tx, ids, tx.Dialect.ForUpdate())
}

// readTx is lockTx with a lock to choose: none, where this transaction holds the rows already.
func (s *Store) readTx(ctx context.Context, tx *database.Tx, ids []string, lock string) (*work, error) {
	rows, err := s.ordersOf(ctx, tx, ids, lock)
	if err != nil {
		return nil, err
	}
	w := &work{orders: make(map[string]*locked, len(rows)), units: map[string]int64{}}
	for id, row := range rows {
		o, err := row.order()
		if err != nil {
			return nil, err
		}
		w.now = moment(row.NowMS)
		w.orders[id] = &locked{Order: o, held: row.HeldRef, live: row.Live, was: o.Status, wasVersion: o.Version}
	}
	return w, nil
}

// change locks one order, lets decide collect what becomes of it, and writes that. What a refusal noted stands: a
// payment that is not taken is due for refund although its payer gets an error.
func (s *Store) change(
	ctx context.Context, id string, decide func(tx *database.Tx, w *work, o *locked) error,
) (o order.Order, freed map[string]int64, err error) {
	id, _ = canonical(id)
	var refused *order.Error
	err = s.db.Tx(ctx, func(tx *database.Tx) error {
		refused = nil
		w, err := s.lockTx(ctx, tx, []string{id})
		if err != nil {
			return err
		}
		if w.orders[id] == nil {
			return order.Missing()
		}
		if err := decide(tx, w, w.orders[id]); err != nil && !errors.As(err, &refused) {
			return err
		}
		o = w.orders[id].Order
		_, freed, err = w.writeTx(ctx, tx)
		return err
	})
	switch {
	case err != nil:
		return order.Order{}, nil, fmt.Errorf("change order %s: %w", id, err)
	case refused != nil:
		return o, nil, refused
	}
	return o, freed, nil
}

// move takes o to the state to. Everything that follows from it is collected here and nowhere else: the event, the
// entry, the units that go back and the payment that is due for refund.
func (w *work) move(o *locked, to order.Status, by, reason string) error {
	at := w.now
	if at.Before(o.UpdatedAt) {
		at = o.UpdatedAt // the clock was read before the wait for the row
	}
	if to == order.Paid {
		o.PaymentRef = o.held
	}
	change, err := o.Move(to, at, by, reason)
	if err != nil {
		return err
	}
	event, err := moved(change)
	if err != nil {
		return err
	}
	o.touched = true
	w.events = append(w.events, event)
	w.note(o, order.Entry{Key: moveKey(o.Version), At: at, What: string(to), By: by, Detail: o.Reason})
	if order.GivesBack(change.From, to) {
		o.live = false
		for sku, units := range o.Units() {
			w.units[sku] += units
		}
	}
	if to.Ended() && o.held != "" {
		w.returned = append(w.returned, payment{of: &o.Order, ref: o.held, state: order.Returned})
		ref := o.held
		o.held = ""
		return w.refund(o, ref, o.DueReason())
	}
	return nil
}

// note puts an entry of order-api's own into o's timeline.
func (w *work) note(o *locked, e order.Entry) {
	e.OrderID, e.Service = o.ID, self
	w.entries = append(w.entries, e)
}

// writeTx writes all that was collected. It answers which entries are new and how many more units can be sold.
func (w *work) writeTx(ctx context.Context, tx *database.Tx) (fresh map[entryKey]bool, freed map[string]int64, err error) {
	freed, err = returnUnitsTx(ctx, tx, w.units) // locks allotments before anything is written
	if err != nil {
		return nil, nil, err
	}
	if err := w.updateOrdersTx(ctx, tx); err != nil {
		return nil, nil, err
	}
	if err := tx.ExecAll(ctx, insertPayments(w.arrived)); err != nil {
		return nil, nil, err
	}
	if err := returnPaymentsTx(ctx, tx, w.returned); err != nil {
		return nil, nil, err
	}
	fresh, err = insertEntriesTx(ctx, tx, w.entries)
	if err != nil {
		return nil, nil, err
	}
	if err := outbox.AppendTx(ctx, tx, w.events...); err != nil {
		return nil, nil, fmt.Errorf("announce moves: %w", err)
	}
	return fresh, freed, nil
}

// errMovedMeanwhile says that an order that this transaction holds was moved by somebody else, which cannot be.
var errMovedMeanwhile = errors.New("an order was moved while its row was locked")

// updateOrdersTx is the one statement that writes a status. Whatever was read before, a row moves only from the state
// and version that the move was decided on.
func (w *work) updateOrdersTx(ctx context.Context, tx *database.Tx) error {
	var touched []*locked
	for _, o := range w.orders {
		if o.touched {
			touched = append(touched, o)
		}
	}
	if len(touched) == 0 {
		return nil
	}
	v := database.NewValues(
		field("id", "uuid", touched, func(o *locked) string { return o.ID }),
		field("was", "text", touched, func(o *locked) string { return string(o.was) }),
		field("was_version", "bigint", touched, func(o *locked) int64 { return o.wasVersion }),
		field("status", "text", touched, func(o *locked) string { return string(o.Status) }),
		field("version", "bigint", touched, func(o *locked) int64 { return o.Version }),
		field("updated_at", "bigint", touched, func(o *locked) int64 { return ms(o.UpdatedAt) }),
		field("payment_ref", "text", touched, func(o *locked) string { return o.PaymentRef }),
		field("held_ref", "text", touched, func(o *locked) string { return o.held }),
		field("due_at", "bigint", touched, (*locked).dueAt),
		field("reason", "text", touched, func(o *locked) string { return o.Reason }),
		field("live", "boolean", touched, func(o *locked) bool { return o.live }))
	result, err := tx.ExecValues(ctx, v, `UPDATE orders SET status = v.status, version = v.version, updated_at = v.updated_at,
			payment_ref = v.payment_ref, held_ref = v.held_ref, due_at = NULLIF(v.due_at, 0), reason = v.reason, live = v.live
		FROM v WHERE orders.id = v.id AND orders.status = v.was AND orders.version = v.was_version`)
	if err != nil {
		return fmt.Errorf("move %d orders: %w", len(touched), err)
	}
	if n, err := result.RowsAffected(); err != nil || n != int64(len(touched)) {
		return errors.Join(errMovedMeanwhile, err)
	}
	return nil
}

// dueAt is when the sweeper cancels the order, 0 once it need not: the money is in, or the order has ended.
func (o *locked) dueAt() int64 {
	if o.held != "" || o.Status != order.Created && o.Status != order.Confirmed {
		return 0
	}
	return ms(o.ExpiresAt)
}

// field is one column of database.Values, made of one property of each element.
func field[E, T any](name, typ string, elems []E, of func(E) T) database.Column {
	values := make([]T, len(elems))
	for i, e := range elems {
		values[i] = of(e)
	}
	return database.Col(name, typ, values)
}
