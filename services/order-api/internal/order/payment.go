package order

// CapturedRef is the payment of an order whose money was in when it was placed.
const CapturedRef = "captured"

// PaymentState is what became of a payment. Every payment ends held by a live order, or in exactly one RefundDue.
type PaymentState string

// The states of a payment.
const (
	Held     PaymentState = "held"     // it pays for the order
	Returned PaymentState = "returned" // it was held until the order ended; its refund is due
	Refused  PaymentState = "refused"  // it came for an order that had ended or was paid already; its refund is due
)

// Why a refund is due.
const (
	DueCancelled   = "cancelled"
	DueExpired     = "expired"
	DueRefunded    = "refunded"
	DueAlreadyPaid = "already-paid"
)

// Expired is the reason of an order that was cancelled because its money did not come.
const Expired = "expired"

// Receive says what becomes of a new payment for the order, whose held payment is given ("" for none): it is held, or
// refused with the reason of the refund.
func (o *Order) Receive(held string) (state PaymentState, due string) {
	switch {
	case o.Status.Ended():
		return Refused, o.DueReason()
	case held != "":
		return Refused, DueAlreadyPaid
	}
	return Held, ""
}

// DueReason says why the payments of an ended order go back.
func (o *Order) DueReason() string {
	switch {
	case o.Status == Refunded:
		return DueRefunded
	case o.Reason == Expired:
		return DueExpired
	}
	return DueCancelled
}

// RefusePayment is what the one gets who pays for an order that takes no money any more.
func (o *Order) RefusePayment() *Error {
	return &Error{Code: IllegalMove, Status: o.Status, Message: "the order takes no other payment; this one goes back"}
}

// Booked is where a created order goes when its units are set aside: straight to paid when its money is in.
func (o *Order) Booked(held string) Status {
	if held != "" {
		return Paid
	}
	return Confirmed
}
