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

// Off is the gate that lets everything through: the transaction alone decides.
type Off struct{}

// Take lets the order through.
func (Off) Take(context.Context, string, []order.Line) Ticket { return Ticket{} }

// GiveBack has nothing to give back.
func (Off) GiveBack(context.Context, Ticket) {}

// Changed has nothing to correct.
func (Off) Changed(context.Context, ...string) {}

// Run waits for the end: there is nothing to keep up to date.
func (Off) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
