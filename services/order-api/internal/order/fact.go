package order

// Kind says what a fact is about.
type Kind string

// What other services tell order-api.
const (
	UnitsBooked    Kind = "booked"    // inventory set the order's units aside
	GoodsShipped   Kind = "shipped"   // the order was handed to a carrier
	GoodsDelivered Kind = "delivered" // it arrived
	Noted          Kind = "noted"     // it belongs into the timeline and changes nothing else
	ItemListed     Kind = "listed"    // an item is sold, or sold otherwise than before
	ItemRetired    Kind = "retired"   // an item is no longer sold
	UnitsGranted   Kind = "granted"
	UnitsRevoked   Kind = "revoked"
)

// Fact is one thing that another service said. A fact may come twice, late or out of order: only its natural key counts.
type Fact struct {
	Kind  Kind
	Entry Entry         // what the timeline shows of a fact about an order; Entry.OrderID and Entry.Key name it
	Item  CatalogueItem // of ItemListed and ItemRetired (SkuID and Version)
	Grant Grant         // of UnitsGranted and UnitsRevoked
}

// Grant hands units to this database, or takes them away, once per ID.
type Grant struct {
	ID    string
	SkuID string
	Units int64 // at least 1
}

// Applied is what facts changed.
type Applied struct {
	Changed []bool           // per fact; false where it was known before
	Freed   map[string]int64 // by sku, how many more units can be sold now; below 0 where units were revoked
	Items   []string         // skus whose item changed
}

// Announced is a move as it was read from Kafka.
type Announced struct {
	OrderID string
	Version int64
	Status  Status
}

// Disagreement is an announced move that the database does not know.
type Disagreement struct {
	Announced
	Why      string // "missing", "ahead" or "differs"
	Repaired bool   // the true state was announced again; a missing order has none
	Now      Status
	At       int64 // the order's version in the database
}

// The ways to disagree.
const (
	WhyMissing = "missing"
	WhyAhead   = "ahead"
	WhyDiffers = "differs"
)

// Compare says how an announced move disagrees with the order as it stands, "" when it does not. A lower version than
// the order's is history.
func (a Announced) Compare(o Order) string {
	switch {
	case a.Version > o.Version:
		return WhyAhead
	case a.Version == o.Version && a.Status != o.Status:
		return WhyDiffers
	}
	return ""
}

// Check refuses what cannot be a fact, whatever the database holds.
func (f Fact) Check() error {
	granted := f.Kind == UnitsGranted || f.Kind == UnitsRevoked
	if granted && (f.Grant.Units < 1 || f.Grant.ID == "" || f.Grant.SkuID == "") {
		return &Error{Code: InvalidRequest, Message: "a grant has an id, an item and at least one unit"}
	}
	if f.AboutItem() && (f.Item.SkuID == "" || f.Item.Version < 1) {
		return &Error{Code: InvalidRequest, Message: "an item has an id and a version of at least 1"}
	}
	return nil
}

// AboutOrder says that the fact belongs to an order.
func (f Fact) AboutOrder() bool {
	return f.Kind == UnitsBooked || f.Kind == GoodsShipped || f.Kind == GoodsDelivered || f.Kind == Noted
}

// AboutItem says that the fact changes the catalogue.
func (f Fact) AboutItem() bool { return f.Kind == ItemListed || f.Kind == ItemRetired }

// Sku is the item whose catalogue entry or units the fact changes, "" for none.
func (f Fact) Sku() string {
	switch f.Kind {
	case ItemListed, ItemRetired:
		return f.Item.SkuID
	case UnitsGranted, UnitsRevoked:
		return f.Grant.SkuID
	}
	return ""
}

// By is who made the moves that the fact implies: a person where one is named, else the service that told.
func (f Fact) By() string {
	if f.Entry.By != "" {
		return f.Entry.By
	}
	return f.Entry.Service
}

// Follows are the moves that a fact implies for an order whose held payment is given. Facts come late and twice: moves
// that were made are not made again, one that was left out is caught up with, and an order that ended stays so.
func (o *Order) Follows(k Kind, held string) []Status {
	switch {
	case k == UnitsBooked && o.Status == Created:
		return []Status{o.Booked(held)}
	case k == GoodsShipped && !o.gone():
		return []Status{Shipped}
	case k == GoodsDelivered && o.Status == Shipped:
		return []Status{Delivered}
	case k == GoodsDelivered && !o.gone():
		return []Status{Shipped, Delivered}
	}
	return nil
}

// gone says that the order was shipped or has ended.
func (o *Order) gone() bool { return o.Status == Shipped || o.Status == Delivered || o.Status.Ended() }

// Become changes the item into what f says and answers true, unless f is older than what is known.
func (i *CatalogueItem) Become(f Fact) bool {
	if f.Item.Version <= i.Version {
		return false
	}
	if f.Kind == ItemListed {
		available := i.Available
		*i = f.Item
		i.Available, i.Retired = available, false
		return true
	}
	i.SkuID, i.Version, i.Retired = f.Item.SkuID, f.Item.Version, true
	return true
}
