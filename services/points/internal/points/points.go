// Package points gives a customer one point for every whole unit of currency in an order that was paid, once per order,
// and takes exactly those back, once, when the order is refunded.
package points

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Cents is money, in hundredths of the order's currency.
type Cents int64

// Points are what a customer collects. An amount below zero is taken away.
type Points int64

// perPoint is what earns one point; what is left of it earns nothing.
const perPoint Cents = 100

// For is what an order of total earns. A small one earns nothing, and its ledger says so with a zero.
func For(total Cents) Points { return Points(total / perPoint) }

// Kind is what one entry of the ledger does. An order has at most one entry of each kind.
type Kind string

// The two kinds of entries.
const (
	Award    Kind = "award"
	TakeBack Kind = "take_back"
)

// News is what an order's move means for points.
type News string

// What orders tell. That a paid order moved on tells again that it was paid.
const (
	Paid     News = "paid"
	Refunded News = "refunded"
)

// entries lists what each piece of news puts into the ledger, if it is not there yet. Only a paid order is refunded, so
// a refund awards first: whichever arrives first, the ledger ends the same.
var entries = map[News][]Kind{
	Paid:     {Award},
	Refunded: {Award, TakeBack},
}

// Entries are the kinds of entries that n brings about.
func (n News) Entries() []Kind { return entries[n] }

// Order is what points needs to know of an order.
type Order struct {
	ID    string
	User  string
	Total Cents
}

// Check says what makes o an order that nobody can be rewarded for.
func (o Order) Check() error {
	if o.Total < 0 {
		return &Invalid{"total_cents", fmt.Sprintf("is %d", o.Total)}
	}
	return CheckUser(o.User)
}

// CheckUser refuses a name that no ledger can keep.
func CheckUser(user string) error {
	if user == "" || utf8.RuneCountInString(user) > 255 || strings.ContainsRune(user, 0) {
		return &Invalid{"user_id", "must be 1 to 255 characters, none of them NUL"}
	}
	return nil
}

// Invalid says which field is at fault, in a sentence for people.
type Invalid struct{ Field, Message string }

func (i *Invalid) Error() string { return i.Field + ": " + i.Message }
