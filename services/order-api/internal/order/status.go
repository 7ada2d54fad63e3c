package order

import (
	"fmt"
	"slices"
	"time"
)

// Status is where an order stands in its life.
type Status string

// The states of an order.
const (
	Created   Status = "created"   // accepted, durable
	Confirmed Status = "confirmed" // booked, the money is awaited
	Paid      Status = "paid"      // booked and paid
	Shipped   Status = "shipped"
	Delivered Status = "delivered"
	Cancelled Status = "cancelled"
	Refunded  Status = "refunded"
)

// next lists every legal move. A move that is not here is a bug, whoever asks.
var next = map[Status][]Status{
	Created:   {Confirmed, Paid, Cancelled},
	Confirmed: {Paid, Cancelled},
	Paid:      {Shipped, Refunded},
	Shipped:   {Delivered, Refunded},
	Delivered: {Refunded},
	Cancelled: {},
	Refunded:  {},
}

// Statuses lists every state, in the order of an order's life.
func Statuses() []Status {
	return []Status{Created, Confirmed, Paid, Shipped, Delivered, Cancelled, Refunded}
}

// Known says that s is a state at all.
func (s Status) Known() bool { _, ok := next[s]; return ok }

// Ended says that no move leads on from s.
func (s Status) Ended() bool { return s.Known() && len(next[s]) == 0 }

// CanMove says that an order may go from s to the state to.
func (s Status) CanMove(to Status) bool { return slices.Contains(next[s], to) }

// GivesBack says that the move returns the order's units to the allotment: it ended before they left.
func GivesBack(from, to Status) bool {
	return to == Cancelled || to == Refunded && from == Paid
}

// Change is one move that was made.
type Change struct {
	From  Status
	By    string
	Order Order // after the move
}

// Move takes the order to the state to, one version on, or leaves it untouched and says why.
func (o *Order) Move(to Status, at time.Time, by, reason string) (Change, error) {
	from := o.Status
	if !from.CanMove(to) {
		return Change{}, o.illegal(to)
	}
	o.Status, o.UpdatedAt = to, at
	o.Version++
	if to.Ended() {
		o.Reason = reason
	}
	return Change{From: from, By: by, Order: *o}, nil
}

// illegal says that the order cannot go to the state to, in words for the one who asked.
func (o *Order) illegal(to Status) *Error {
	return &Error{Code: IllegalMove, Status: o.Status, Message: fmt.Sprintf("the order is %s and cannot become %s", o.Status, to)}
}

// NotEnded is the refusal to hide an order that still lives.
func (o *Order) NotEnded() *Error {
	return &Error{Code: IllegalMove, Status: o.Status, Message: fmt.Sprintf("the order is %s: only one that has ended can be hidden", o.Status)}
}
