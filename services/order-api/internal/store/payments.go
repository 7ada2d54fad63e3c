package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// payment is one payment of an order, which is paid whole or not at all.
type payment struct {
	of    *order.Order // as it stands; what a payment needs of it never changes
	ref   string
	state order.PaymentState
	at    time.Time
}

// Pay notes a payment. The same ref again gets the same answer; a payment that the order does not take is kept as due
// for refund and answered *order.Error IllegalMove.
func (s *Store) Pay(ctx context.Context, id, ref, by string) (order.Order, error) {
	if err := order.CheckText("paymentRef", ref, 1, order.MaxPaymentRef); err != nil {
		return order.Order{}, err
	}
	o, _, err := s.change(ctx, id, func(tx *database.Tx, w *work, o *locked) error {
		state, err := paymentTx(ctx, tx, o.ID, ref)
		switch {
		case err != nil:
			return err
		case state == order.Refused:
			return o.RefusePayment()
		case state != "":
			return nil // noted before
		}
		return w.receive(o, ref, by)
	})
	return o, err
}

// paymentTx is what became of a payment, "" when it was never seen. The order's row is locked, so nobody adds it now.
func paymentTx(ctx context.Context, tx *database.Tx, id, ref string) (state order.PaymentState, err error) {
	err = tx.QueryRowContext(ctx, `SELECT state FROM payments WHERE order_id = $1 AND payment_ref = $2`, id, ref).Scan(&state)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return state, err
}

// receive takes a payment that was never seen, or sends it back.
func (w *work) receive(o *locked, ref, by string) error {
	state, due := o.Receive(o.held)
	w.arrived = append(w.arrived, payment{of: &o.Order, ref: ref, state: state, at: w.now})
	w.note(o, order.Entry{Key: "payment/" + ref, At: w.now, What: "payment-noted", By: by, Detail: ref})
	if state == order.Refused {
		if err := w.refund(o, ref, due); err != nil {
			return err
		}
		return o.RefusePayment()
	}
	o.held, o.touched = ref, true
	if o.Status == order.Confirmed {
		return w.move(o, order.Paid, by, "")
	}
	return nil // booking will find the money there
}

// refund says once that a payment must go back.
func (w *work) refund(o *locked, ref, reason string) error {
	event, err := refundDue(o.Order, ref, reason, w.now)
	if err != nil {
		return err
	}
	w.events = append(w.events, event)
	w.note(o, order.Entry{
		Key: "refund-due/" + ref, At: w.now, What: "refund-due", By: self,
		Detail: fmt.Sprintf("%d cents %s of payment %s: %s", o.TotalCents, o.Currency, ref, reason),
	})
	return nil
}

func insertPayments(payments []payment) database.Statement {
	v := database.NewValues(
		field("order_id", "uuid", payments, func(p payment) string { return p.of.ID }),
		field("payment_ref", "text", payments, func(p payment) string { return p.ref }),
		field("state", "text", payments, func(p payment) string { return string(p.state) }),
		field("amount_cents", "bigint", payments, func(p payment) int64 { return int64(p.of.TotalCents) }),
		field("currency", "text", payments, func(p payment) string { return p.of.Currency }),
		field("at", "bigint", payments, func(p payment) int64 { return ms(p.at) }))
	return database.Write(fmt.Sprintf("note %d payments", len(payments)), v,
		`INSERT INTO payments (order_id, payment_ref, state, amount_cents, currency, at)
		SELECT v.order_id, v.payment_ref, v.state, v.amount_cents, v.currency, v.at FROM v`)
}

// errNotHeld says that a payment whose refund was about to be announced was not held, so its refund was announced before.
var errNotHeld = errors.New("a payment that goes back was not held")

func returnPaymentsTx(ctx context.Context, tx *database.Tx, payments []payment) error {
	if len(payments) == 0 {
		return nil
	}
	v := database.NewValues(
		field("order_id", "uuid", payments, func(p payment) string { return p.of.ID }),
		field("payment_ref", "text", payments, func(p payment) string { return p.ref }))
	result, err := tx.ExecValues(ctx, v, `UPDATE payments SET state = 'returned'
		FROM v WHERE payments.order_id = v.order_id AND payments.payment_ref = v.payment_ref AND payments.state = 'held'`)
	if err != nil {
		return fmt.Errorf("return %d payments: %w", len(payments), err)
	}
	if n, err := result.RowsAffected(); err != nil || n != int64(len(payments)) {
		return errors.Join(errNotHeld, err)
	}
	return nil
}
