package stock

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Cents is money, in hundredths of the item's currency.
type Cents int64

// Item is what can be bought.
type Item struct {
	SKU              string
	Name             string
	UnitPrice        Cents
	Currency         string // ISO 4217
	PerCustomerLimit int32  // 0 for none
}

// Invalid says which field of a request is at fault, in a sentence for people.
type Invalid struct{ Field, Message string }

func (i *Invalid) Error() string { return i.Field + ": " + i.Message }

var (
	skuForm      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$`)
	currencyForm = regexp.MustCompile(`^[A-Z]{3}$`)
)

// maxPrice bounds a price, so that 50 lines of 1000 units add up without overflow.
const maxPrice Cents = 1_000_000_000_000

// CheckSKU refuses what cannot name an item. A slash would make the names of grants ambiguous, a brace would move the
// item's counter to another slot of Redis.
func CheckSKU(sku string) error {
	if !skuForm.MatchString(sku) {
		return &Invalid{"sku_id", "must be 1 to 64 letters, digits, dots, dashes, colons or underscores, the first a letter or digit"}
	}
	return nil
}

// Check refuses an item that cannot be listed.
func (i Item) Check() error {
	if err := CheckSKU(i.SKU); err != nil {
		return err
	}
	switch {
	case strings.TrimSpace(i.Name) == "" || !printable(i.Name, 200):
		return &Invalid{"name", "must be 1 to 200 printable characters"}
	case i.UnitPrice < 0 || i.UnitPrice > maxPrice:
		return &Invalid{"unit_price_cents", fmt.Sprintf("must be 0 to %d", maxPrice)}
	case !currencyForm.MatchString(i.Currency):
		return &Invalid{"currency", "must be three capital letters, such as EUR"}
	case i.PerCustomerLimit < 0:
		return &Invalid{"per_customer_limit", "must be 0 for no limit, or more"}
	}
	return nil
}

// Change is units that came or went, named by the request that said so.
type Change struct {
	SKU     string
	Request string
	Units   Units
	Reason  string
	By      string
}

// Check refuses a change that cannot be made.
func (c Change) Check() error {
	if err := CheckSKU(c.SKU); err != nil {
		return err
	}
	switch {
	case c.Units == 0 || c.Units > maxLine || c.Units < -maxLine:
		return &Invalid{"units_delta", fmt.Sprintf("must be 1 to %d, or below zero as much", maxLine)}
	case c.Request == "" || !printable(c.Request, 255):
		return &Invalid{"request_id", "must be 1 to 255 printable characters"}
	case !printable(c.Reason, 500):
		return &Invalid{"reason", "must be at most 500 printable characters"}
	}
	return CheckBy(c.By)
}

// Is says that two requests ask for the same change; who asks does not count.
func (c Change) Is(other Change) bool {
	return c.SKU == other.SKU && c.Request == other.Request && c.Units == other.Units && c.Reason == other.Reason
}

// CheckBy refuses a name of an asker that no ledger can keep.
func CheckBy(by string) error {
	if !printable(by, 255) {
		return &Invalid{"by", "must be at most 255 printable characters"}
	}
	return nil
}

func printable(s string, atMost int) bool {
	return utf8.RuneCountInString(s) <= atMost && strings.IndexFunc(s, unicode.IsControl) < 0
}
