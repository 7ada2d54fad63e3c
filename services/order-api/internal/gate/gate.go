// Package gate turns away what cannot be sold before it costs a place in a transaction.
//
// It is never the truth. A gate that is wiped, restarted, restored from an old dump or away may let an order through
// that the transaction refuses, or refuse one for a moment that could be served; it can never sell a unit that is not
// there. What it holds is only ever set from the database.
package gate

import (
	"context"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// Ticket is the gate's answer to one order.
type Ticket struct {
	// Left says how many units there are of the item the gate refused; nil when the order may go on.
	Left map[string]int64

	op   string
	held []order.Line // what this operation took, or may have taken
}

// Refused says that the gate has too little of at least one line.
func (t Ticket) Refused() bool { return t.Left != nil }

// Off is the gate that lets everything through: the transaction alone decides, and SoldOut remembers what it refused.
type Off struct{ SoldOut *SoldOut }

// TakeAll lets the orders through.
func (Off) TakeAll(_ context.Context, orders []Asking) []Ticket { return make([]Ticket, len(orders)) }

// GiveBack has nothing to give back.
func (Off) GiveBack(context.Context, Ticket) {}

// Changed lets memory forget.
func (o Off) Changed(_ context.Context, skus ...string) {
	if o.SoldOut != nil {
		o.SoldOut.Forget(skus...)
	}
}

// Run waits for the end: there is nothing to keep up to date.
func (Off) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
