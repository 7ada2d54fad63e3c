package order

// Code is the stable word for a refusal, as callers of the HTTP interface see it.
type Code string

// Every refusal there is.
const (
	SoldOut        Code = "sold-out"
	LimitReached   Code = "limit-reached"
	IllegalMove    Code = "illegal-move"
	UnknownItem    Code = "unknown-item"
	MixedCurrency  Code = "mixed-currency"
	KeyReused      Code = "idempotency-key-reused"
	NotFound       Code = "not-found"
	InvalidRequest Code = "invalid-request"
	Malformed      Code = "malformed-request"
)

// Error is a refusal. Its message was written for the one who asked.
type Error struct {
	Code    Code
	Message string
	Left    map[string]int64 // for sold-out: what is left of each sku that was short
	Status  Status           // for illegal-move: the state that the order has
	Fields  []Field          // for invalid-request: what is wrong where
}

// Field is one fault of a request.
type Field struct{ Field, Message string }

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Missing is the refusal for an order that does not exist, or not for the one who asks.
func Missing() *Error { return &Error{Code: NotFound, Message: "there is no such order"} }
