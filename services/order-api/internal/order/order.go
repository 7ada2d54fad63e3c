// Package order holds the rules of one order: who may have which units, which moves are legal, and what becomes of each
// payment. It decides from what it is handed and touches nothing, so that every rule can be tried against arithmetic.
package order

import (
	"maps"
	"slices"
	"time"
)

// Cents is money in hundredths of an order's currency. Floats are not money.
type Cents int64

// PaymentMode says when the money comes.
type PaymentMode string

// The two ways to pay.
const (
	Captured PaymentMode = "captured" // the shop holds the money already
	Deferred PaymentMode = "deferred" // the money comes within the payment window, or the order expires
)

// Line is a wish: so many units of one item.
type Line struct {
	SkuID    string
	Quantity int64
}

// Item is a line as it was sold, with the price of one unit at that moment.
type Item struct {
	SkuID          string
	Quantity       int64
	UnitPriceCents Cents
}

// Order is an order as it stands.
type Order struct {
	ID         string
	UserID     string
	Status     Status
	Payment    PaymentMode
	PaymentRef string // the payment that made it paid; empty until then
	Items      []Item // sorted by sku, each sku once
	TotalCents Cents
	Currency   string
	Reference  string            // the shop's own name for the order
	Metadata   map[string]string // the shop's own notes
	Version    int64             // 1 when created, one more with every move
	CreatedAt  time.Time
	UpdatedAt  time.Time
	ExpiresAt  time.Time // zero for a captured order
	Reason     string    // why it was cancelled or refunded
	By         string    // who placed it
}

// AsCreated is the order as it was first answered: what a repeat of its Idempotency-Key gets, whatever happened since.
func (o Order) AsCreated() Order {
	o.Status, o.Version, o.UpdatedAt = Created, 1, o.CreatedAt
	o.PaymentRef, o.Reason = "", ""
	return o
}

// Units are the order's units by sku.
func (o Order) Units() map[string]int64 {
	units := make(map[string]int64, len(o.Items))
	for _, item := range o.Items {
		units[item.SkuID] += item.Quantity
	}
	return units
}

// CatalogueItem is an item as it is sold today.
type CatalogueItem struct {
	SkuID            string
	Name             string
	UnitPriceCents   Cents
	Currency         string
	PerCustomerLimit int64 // units one customer may hold; 0 for no limit
	Version          int64 // a lower one never overwrites a higher one; 0 for a sku that was never listed
	Retired          bool
	Available        int64 // units that can be sold now
}

// Entry is one line of an order's timeline.
type Entry struct {
	OrderID string
	Key     string // names the fact within its order, so that it is told once
	Seq     int64  // grows with every entry of one order; 0 for the order's creation
	At      time.Time
	Service string
	What    string
	By      string
	Detail  string
}

// Sum joins lines of one sku and sorts them. Lines that are so already are returned as they are.
func Sum(lines []Line) []Line {
	if summed(lines) {
		return lines
	}
	units := map[string]int64{}
	for _, l := range lines {
		units[l.SkuID] += l.Quantity
	}
	sum := make([]Line, 0, len(units))
	for _, sku := range slices.Sorted(maps.Keys(units)) {
		sum = append(sum, Line{SkuID: sku, Quantity: units[sku]})
	}
	return sum
}

// summed says that every line is of a sku of its own, in order.
func summed(lines []Line) bool {
	for i := 1; i < len(lines); i++ {
		if lines[i-1].SkuID >= lines[i].SkuID {
			return false
		}
	}
	return true
}
