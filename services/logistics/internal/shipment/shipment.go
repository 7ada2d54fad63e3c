// Package shipment says what logistics promises: an order that was paid has one shipment, which moves forward only, and
// nothing leaves for an order that was refunded first.
package shipment

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Status is where a shipment stands.
type Status string

// The states of a shipment. None is one that logistics has not heard of.
const (
	None      Status = ""
	Created   Status = "created"
	Shipped   Status = "shipped"
	Delivered Status = "delivered"
	CalledOff Status = "called_off"
)

// News is what an order or a carrier tells about a shipment.
type News string

// Orders tell that they were paid and that they were refunded before they shipped; carriers tell the rest.
const (
	Paid      News = "paid"
	Refunded  News = "refunded"
	OnItsWay  News = "shipped"
	HandedOut News = "delivered"
)

// hears lists the states that a shipment goes through when it hears news. News that comes late or first makes the moves
// it implies; what is not here changes nothing, for news comes twice too.
var hears = map[Status]map[News][]Status{
	None: {
		Paid:     {Created},
		Refunded: {Created, CalledOff},
	},
	Created: {
		Refunded:  {CalledOff},
		OnItsWay:  {Shipped},
		HandedOut: {Shipped, Delivered},
	},
	Shipped: {
		HandedOut: {Delivered},
	},
}

// Hear lists the states that a shipment in state s goes through when it hears news.
func (s Status) Hear(news News) []Status { return hears[s][news] }

// ways are the only two lives of a shipment.
var ways = [][]Status{{Created, Shipped, Delivered}, {Created, CalledOff}}

// Version is the number of moves that led to s: 1 for the first.
func (s Status) Version() int64 {
	for _, way := range ways {
		if i := slices.Index(way, s); i >= 0 {
			return int64(i) + 1
		}
	}
	return 0
}

// Shipment is one order's parcel.
type Shipment struct {
	ID         string
	Order      string
	Status     Status
	Carrier    string // empty until known
	TrackingNo string // empty until known
}

// Report is what a carrier said.
type Report struct {
	Shipment   string
	News       News
	Carrier    string // may be empty
	TrackingNo string // may be empty
	By         string
}

// Hear lists the states that s goes through by the report, and s after it. What was known of the carrier stays; blanks
// are filled.
func (s Shipment) Hear(r Report) (Shipment, []Status) {
	if s.Carrier == "" {
		s.Carrier = r.Carrier
	}
	if s.TrackingNo == "" {
		s.TrackingNo = r.TrackingNo
	}
	steps := s.Status.Hear(r.News)
	if len(steps) > 0 {
		s.Status = steps[len(steps)-1]
	}
	return s, steps
}

// Invalid says which field of a request is at fault, in a sentence for people.
type Invalid struct{ Field, Message string }

func (i *Invalid) Error() string { return i.Field + ": " + i.Message }

// Check refuses a report that is no carrier's news.
func (r Report) Check() error {
	if r.News != OnItsWay && r.News != HandedOut {
		return &Invalid{"status", "must be SHIPPED or DELIVERED"}
	}
	for _, f := range []struct {
		name, value string
		most        int
	}{{"carrier", r.Carrier, 100}, {"tracking_no", r.TrackingNo, 100}, {"by", r.By, 255}} {
		if utf8.RuneCountInString(f.value) > f.most || strings.IndexFunc(f.value, unicode.IsControl) >= 0 {
			return &Invalid{f.name, fmt.Sprintf("must be at most %d printable characters", f.most)}
		}
	}
	return nil
}
