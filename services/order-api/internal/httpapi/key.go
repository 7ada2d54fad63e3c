package httpapi

import (
	"strconv"
	"strings"
)

const maxKey = 255

// parseKey reads an Idempotency-Key: bare, or as a quoted string of structured fields (RFC 8941) with \" and \\ for the
// two characters that need it. "" is no key.
func parseKey(header []string) (string, error) {
	if len(header) == 0 {
		return "", nil
	}
	if len(header) > 1 {
		return "", badKey()
	}
	key := strings.TrimSpace(header[0])
	if strings.HasPrefix(key, `"`) {
		var ok bool
		if key, ok = unquote(key); !ok {
			return "", badKey()
		}
	}
	if key == "" || len(key) > maxKey || strings.ContainsFunc(key, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		return "", badKey()
	}
	return key, nil
}

func badKey() error {
	return invalid("Idempotency-Key", "must be 1 to "+strconv.Itoa(maxKey)+" visible ASCII characters, bare or as one quoted string")
}

// unquote reads a quoted string from its first quote to its last.
func unquote(quoted string) (string, bool) {
	var b strings.Builder
	for i := 1; i < len(quoted); i++ {
		switch quoted[i] {
		case '"':
			return b.String(), i == len(quoted)-1
		case '\\':
			i++
			if i == len(quoted) || quoted[i] != '"' && quoted[i] != '\\' {
				return "", false
			}
		}
		b.WriteByte(quoted[i])
	}
	return "", false
}
