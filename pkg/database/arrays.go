package database

import "github.com/jackc/pgx/v5/pgtype"

// array is a slice as the driver takes it. The commonest elements go to it as pointers into the slice: a string or a number
// that becomes an interface is an allocation for each value of each row, a tenth of all that an order needed.
func array[T any](elems []T) any {
	switch all := any(elems).(type) {
	case []string:
		return texts(all)
	case []int64:
		return bigints(all)
	}
	return elems
}

type (
	texts   []string
	bigints []int64

	text   string
	bigint int64
)

func (a texts) Dimensions() []pgtype.ArrayDimension   { return oneDimension(len(a)) }
func (a bigints) Dimensions() []pgtype.ArrayDimension { return oneDimension(len(a)) }

func (a texts) Index(i int) any   { return (*text)(&a[i]) }
func (a bigints) Index(i int) any { return (*bigint)(&a[i]) }

func (texts) IndexType() any   { return new(text) }
func (bigints) IndexType() any { return new(bigint) }

// TextValue gives the driver a text.
func (t *text) TextValue() (pgtype.Text, error) {
	return pgtype.Text{String: string(*t), Valid: true}, nil
}

// Int64Value gives the driver a number.
func (n *bigint) Int64Value() (pgtype.Int8, error) {
	return pgtype.Int8{Int64: int64(*n), Valid: true}, nil
}

func oneDimension(n int) []pgtype.ArrayDimension {
	return []pgtype.ArrayDimension{{Length: int32(n), LowerBound: 1}}
}
