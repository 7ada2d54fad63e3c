// Package stock says what inventory promises: every unit on hand is ungranted, granted and unsold, or booked for one
// order; an order's units are booked once and then leave once or come back once.
package stock

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Units are physical pieces of one item.
type Units int64

// Levels count one item's units, or say by how much the counts move.
type Levels struct {
	OnHand        Units // physically there
	Ungranted     Units // not handed to order-api
	GrantedUnsold Units // handed to order-api and booked for no order; below zero while more was sold than is there
	Booked        Units // set aside for orders that have not shipped
	Granted       Units // ever handed to order-api
	Revoked       Units // ever taken back from it
}

// Plus is l moved by d.
func (l Levels) Plus(d Levels) Levels {
	return Levels{
		OnHand: l.OnHand + d.OnHand, Ungranted: l.Ungranted + d.Ungranted, GrantedUnsold: l.GrantedUnsold + d.GrantedUnsold,
		Booked: l.Booked + d.Booked, Granted: l.Granted + d.Granted, Revoked: l.Revoked + d.Revoked,
	}
}

// ErrTooFew says that more units were to be removed than are on hand.
var ErrTooFew = errors.New("more units would be removed than are on hand")

// Change is how n units that came (above zero) or went (below zero) move the levels. With one shard of order-api all
// that comes is granted and all that goes is revoked, also where it was sold already: then GrantedUnsold falls below
// zero until stock comes or orders end.
func (l Levels) Change(n Units) (Levels, error) {
	if n >= 0 {
		return Levels{OnHand: n, GrantedUnsold: n, Granted: n}, nil
	}
	if -n > l.OnHand {
		return Levels{}, fmt.Errorf("%w: %d of %d", ErrTooFew, -n, l.OnHand)
	}
	return Levels{OnHand: n, GrantedUnsold: n, Revoked: -n}, nil
}

// State is where a booking stands.
type State string

// The states of a booking. None is an order that inventory has not heard of.
const (
	None     State = ""
	Booked   State = "booked"
	Released State = "released"
	Shipped  State = "shipped"
)

// News is what an order's move means for its booking.
type News string

// What orders tell.
const (
	Ordered News = "ordered" // it was accepted
	Ended   News = "ended"   // it ended before its units left
	Left    News = "left"    // its units left
)

// hears lists the states that a booking goes through when it hears news. What is not here changes nothing: news comes
// twice and late, and the first end that is heard of stays.
var hears = map[State]map[News][]State{
	None: {
		Ordered: {Booked},
		Ended:   {Released}, // nothing to give back; stays, so that the order that comes late is not booked
		Left:    {Booked, Shipped},
	},
	Booked: {
		Ended: {Released},
		Left:  {Shipped},
	},
}

// Step is one move of a booking.
type Step struct{ From, To State }

// Hear lists the steps of a booking in state s when it hears news.
func (s State) Hear(news News) []Step {
	var steps []Step
	for _, to := range hears[s][news] {
		steps = append(steps, Step{From: s, To: to})
		s = to
	}
	return steps
}

// MovesUnits is false for an order that ended before it was booked.
func (s Step) MovesUnits() bool { return s != Step{None, Released} }

// Effect is how the step moves the levels of an item of which the order has n units.
func (s Step) Effect(n Units) Levels {
	switch s {
	case Step{None, Booked}:
		return Levels{GrantedUnsold: -n, Booked: n}
	case Step{Booked, Released}:
		return Levels{GrantedUnsold: n, Booked: -n}
	case Step{Booked, Shipped}:
		return Levels{OnHand: -n, Booked: -n}
	}
	return Levels{}
}

// Line is a number of units of one item.
type Line struct {
	SKU   string
	Units Units
}

// maxLine bounds a line, so that no sum of lines overflows.
const maxLine Units = 1_000_000_000

// Lines sums up the lines of an order, one for each item, sorted by item; or it says why nothing can be booked by them.
func Lines(lines []Line) ([]Line, error) {
	if len(lines) == 0 {
		return nil, errors.New("it has no lines")
	}
	var sums []Line
	for _, l := range lines {
		if l.SKU == "" || strings.ContainsRune(l.SKU, 0) {
			return nil, fmt.Errorf("a line names the item %q", l.SKU)
		}
		if l.Units < 1 || l.Units > maxLine {
			return nil, fmt.Errorf("a line has %d units of %s", l.Units, l.SKU)
		}
		at, found := slices.BinarySearchFunc(sums, l.SKU, func(sum Line, sku string) int { return strings.Compare(sum.SKU, sku) })
		if !found {
			sums = slices.Insert(sums, at, Line{SKU: l.SKU})
		}
		sums[at].Units += l.Units
	}
	return sums, nil
}
