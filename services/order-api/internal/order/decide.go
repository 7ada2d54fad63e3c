package order

import (
	"fmt"
	"math"
	"time"
)

// Verdict is what became of one draft: an order, or a refusal in Err.
type Verdict struct {
	Order    Order
	Replayed bool // the order was there before, by its Idempotency-Key
	Err      error
}

// Accepted says that the draft became a new order.
func (v Verdict) Accepted() bool { return v.Err == nil && !v.Replayed }

// Shelf is what one sku can give, its row locked by the one who decides.
type Shelf struct {
	CatalogueItem
	Remaining int64
}

// Claim is an Idempotency-Key of one user.
type Claim struct{ UserID, Key string }

// Known is the order that a key was bound to, and what was asked for.
type Known struct {
	Order       Order
	Fingerprint string
}

// Holder is one customer's share of one sku.
type Holder struct{ UserID, SkuID string }

// State is what a batch is decided from. Decide uses it up: afterwards it says what is left.
type State struct {
	Now     time.Time
	Shelves map[string]*Shelf
	Keys    map[Claim]Known
	Held    map[Holder]int64 // units of limited skus that customers hold already
}

// Decide gives each draft its verdict, in order of arrival. A draft is sold whole or not at all, and one that is refused
// takes nothing and binds no key.
func Decide(s State, drafts []Draft) []Verdict {
	verdicts := make([]Verdict, len(drafts))
	for i, d := range drafts {
		verdicts[i] = s.decide(d)
	}
	return verdicts
}

func (s State) decide(d Draft) Verdict {
	if known, ok := s.Keys[d.Claim()]; ok && d.Key != "" {
		return known.Answer(d)
	}
	o, err := s.fill(d)
	if err != nil {
		return Verdict{Err: err}
	}
	s.take(d, o)
	return Verdict{Order: o}
}

// Claim is the key of d as the one who sends it means it: keys of different users are different.
func (d Draft) Claim() Claim { return Claim{d.UserID, d.Key} }

// Answer is what a repeat of a bound key gets, also when the item is sold out, retired or over the limit by now.
func (k Known) Answer(d Draft) Verdict {
	if k.Fingerprint != d.Fingerprint {
		return Verdict{Err: &Error{Code: KeyReused, Message: "this Idempotency-Key was used for another order"}}
	}
	return Verdict{Order: k.Order.AsCreated(), Replayed: true}
}

// fill makes the order out of the draft, or says why it cannot be.
func (s State) fill(d Draft) (Order, error) {
	o := Order{
		ID: d.ID, UserID: d.UserID, Status: Created, Payment: d.Payment, Reference: d.Reference, Metadata: d.Metadata,
		Version: 1, CreatedAt: s.Now, UpdatedAt: s.Now, By: d.By,
	}
	if d.Payment == Deferred {
		o.ExpiresAt = s.Now.Add(d.Window)
	}
	lines := Sum(d.Lines)
	for _, check := range []func(string, []Line) error{sound, s.unknown, s.mixed, s.limited, s.short} {
		if err := check(d.UserID, lines); err != nil {
			return Order{}, err
		}
	}
	return o, s.price(&o, lines)
}

// sound refuses a draft that nobody checked: no lines, or lines that would put units back.
func sound(_ string, lines []Line) error {
	for _, l := range lines {
		if l.Quantity < 1 {
			return &Error{Code: InvalidRequest, Message: fmt.Sprintf("%d of %q cannot be bought", l.Quantity, l.SkuID)}
		}
	}
	if len(lines) == 0 {
		return &Error{Code: InvalidRequest, Message: "an order has at least one line"}
	}
	return nil
}

func (s State) unknown(_ string, lines []Line) error {
	for _, l := range lines {
		if shelf := s.Shelves[l.SkuID]; shelf == nil || shelf.Version == 0 || shelf.Retired {
			return NotSold(l.SkuID)
		}
	}
	return nil
}

// NotSold is the refusal of what was never listed, or is retired.
func NotSold(sku string) *Error {
	return &Error{Code: UnknownItem, Message: fmt.Sprintf("%q is not sold here", sku)}
}

func (s State) mixed(_ string, lines []Line) error {
	first := s.Shelves[lines[0].SkuID].Currency
	for _, l := range lines {
		if c := s.Shelves[l.SkuID].Currency; c != first {
			return &Error{Code: MixedCurrency, Message: fmt.Sprintf("one order has one currency, this one has %s and %s", first, c)}
		}
	}
	return nil
}

func (s State) limited(user string, lines []Line) error {
	for _, l := range lines {
		limit := s.Shelves[l.SkuID].PerCustomerLimit
		if limit > 0 && s.Held[Holder{user, l.SkuID}]+l.Quantity > limit {
			return &Error{Code: LimitReached, Message: fmt.Sprintf("a customer may have %d of %q", limit, l.SkuID)}
		}
	}
	return nil
}

func (s State) short(_ string, lines []Line) error {
	left := map[string]int64{}
	for _, l := range lines {
		if have := s.Shelves[l.SkuID].Remaining; have < l.Quantity {
			left[l.SkuID] = have
		}
	}
	if len(left) == 0 {
		return nil
	}
	return Short(left)
}

// Short is the refusal for a draft that wants more than left.
func Short(left map[string]int64) *Error {
	return &Error{Code: SoldOut, Message: "there are not enough units left", Left: left}
}

// price writes the lines and their sum into the order.
func (s State) price(o *Order, lines []Line) error {
	for _, l := range lines {
		shelf := s.Shelves[l.SkuID]
		if shelf.UnitPriceCents > 0 && Cents(l.Quantity) > (math.MaxInt64-o.TotalCents)/shelf.UnitPriceCents {
			return &Error{Code: InvalidRequest, Message: "the order's total is too large"}
		}
		o.Items = append(o.Items, Item{l.SkuID, l.Quantity, shelf.UnitPriceCents})
		o.TotalCents += Cents(l.Quantity) * shelf.UnitPriceCents
		o.Currency = shelf.Currency
	}
	return nil
}

// take leaves the next draft what this one did not take, and binds the key.
func (s State) take(d Draft, o Order) {
	for _, item := range o.Items {
		shelf := s.Shelves[item.SkuID]
		shelf.Remaining -= item.Quantity
		if shelf.PerCustomerLimit > 0 {
			s.Held[Holder{d.UserID, item.SkuID}] += item.Quantity
		}
	}
	if d.Key != "" {
		s.Keys[d.Claim()] = Known{Order: o, Fingerprint: d.Fingerprint}
	}
}
