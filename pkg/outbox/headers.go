package outbox

import (
	"encoding/binary"
	"errors"
)

// EncodeHeaders packs headers into one column: names and values are any bytes, null values and the order stay. Each
// string is its length and its bytes; a value's length is one more than it has, 0 for null.
func EncodeHeaders(headers []Header) []byte {
	b := []byte{}
	for _, h := range headers {
		b = binary.AppendUvarint(b, uint64(len(h.Key)))
		b = append(b, h.Key...)
		if h.Value == nil {
			b = append(b, 0)
			continue
		}
		b = binary.AppendUvarint(b, uint64(len(h.Value))+1)
		b = append(b, h.Value...)
	}
	return b
}

var errHeaders = errors.New("the headers of an outbox row cannot be read")

// DecodeHeaders undoes EncodeHeaders.
func DecodeHeaders(b []byte) ([]Header, error) {
	var headers []Header
	for len(b) > 0 {
		key, rest, ok := take(b, 0)
		if !ok || len(rest) == 0 {
			return nil, errHeaders
		}
		h := Header{Key: string(key)}
		if rest[0] == 0 {
			b = rest[1:]
		} else if h.Value, b, ok = take(rest, 1); !ok {
			return nil, errHeaders
		}
		headers = append(headers, h)
	}
	return headers, nil
}

// take cuts a length and that many bytes from b; the length is written with extra added.
func take(b []byte, extra uint64) (value, rest []byte, ok bool) {
	n, width := binary.Uvarint(b)
	if width <= 0 || n < extra || n-extra > uint64(len(b)-width) {
		return nil, nil, false
	}
	end := width + int(n-extra) // at most len(b)
	return b[width:end:end], b[end:], true
}
