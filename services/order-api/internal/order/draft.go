package order

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// What one order may hold.
const (
	MaxLines         = 50
	MaxQuantity      = 1000
	MaxReference     = 100  // characters
	MaxMetadataBytes = 1024 // keys and values together
)

// Draft is an order that somebody wants. Its ID is made before it is first tried and kept over retries, so that a retry
// can be told from a second order.
type Draft struct {
	ID          string // UUID version 7
	UserID      string
	Key         string // Idempotency-Key, "" for none
	Fingerprint string // what the key stands for, where there is one; see Draft.Print
	Lines       []Line // as Sum leaves them
	Payment     PaymentMode
	Window      time.Duration // how long a deferred order waits for its money
	Reference   string
	Metadata    map[string]string
	By          string // who asks: the user, or "shop:<name>"
}

// Print is the fingerprint of what is wanted: two drafts that want the same have the same, however they were written.
func (d Draft) Print() string {
	// encoding/json sorts the keys of maps; a struct of strings and numbers cannot fail.
	b, _ := json.Marshal(struct {
		Lines     []Line
		Payment   PaymentMode
		Reference string
		Metadata  map[string]string `json:",omitempty"`
	}{Sum(d.Lines), d.Payment, d.Reference, d.Metadata})
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Check says everything that is wrong with what a caller wrote, before lines of one sku are summed; nil when nothing is.
func (d Draft) Check() error {
	var bad []Field
	complain := func(field, format string, args ...any) {
		bad = append(bad, Field{field, fmt.Sprintf(format, args...)})
	}
	if len(d.Lines) == 0 || len(d.Lines) > MaxLines {
		complain("items", "an order has 1 to %d lines", MaxLines)
	}
	for i, l := range d.Lines {
		if l.SkuID == "" || len(l.SkuID) > 100 || !storable(l.SkuID) {
			complain(fmt.Sprintf("items[%d].skuId", i), "must be the id of an item")
		}
		if l.Quantity < 1 || l.Quantity > MaxQuantity {
			complain(fmt.Sprintf("items[%d].quantity", i), "must be between 1 and %d", MaxQuantity)
		}
	}
	if d.Payment != Captured && d.Payment != Deferred {
		complain("payment", "must be %q or %q", Captured, Deferred)
	}
	if d.UserID == "" || len(d.UserID) > 255 || !storable(d.UserID) {
		complain("userId", "must have 1 to 255 characters")
	}
	if utf8.RuneCountInString(d.Reference) > MaxReference || !storable(d.Reference) {
		complain("reference", "must have at most %d characters, none of them NUL", MaxReference)
	}
	if size, ok := metadataSize(d.Metadata); size > MaxMetadataBytes || !ok {
		complain("metadata", "must have at most %d bytes, none of them NUL", MaxMetadataBytes)
	}
	if bad == nil {
		return nil
	}
	return &Error{Code: InvalidRequest, Message: "the order cannot be read as it stands", Fields: bad}
}

func metadataSize(metadata map[string]string) (size int, ok bool) {
	ok = true
	for k, v := range metadata {
		size += len(k) + len(v)
		ok = ok && storable(k) && storable(v)
	}
	return size, ok
}

// storable says that every database takes s: text there is UTF-8 without NUL.
func storable(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// MaxReason bounds the reason of a cancellation or refund, MaxPaymentRef the name of a payment.
const (
	MaxReason     = 500
	MaxPaymentRef = 200
)

// CheckText refuses a text that is too short, too long or not text.
func CheckText(field, text string, least, most int) error {
	if n := utf8.RuneCountInString(text); n >= least && n <= most && storable(text) {
		return nil
	}
	return &Error{Code: InvalidRequest, Message: field + " cannot be taken as it stands", Fields: []Field{
		{field, fmt.Sprintf("must have %d to %d characters, none of them NUL", least, most)},
	}}
}
