package local

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// client asks order-api as any caller would.
type client struct {
	base  string // http://host:port/api/v1
	token string
}

// refused is an answer that is not what the caller hoped for.
type refused struct {
	status int
	body   string
}

func (r refused) Error() string { return fmt.Sprintf("%d %s", r.status, r.body) }

// call sends in as JSON, where there is one, and reads the answer into out.
func (c client) call(ctx context.Context, method, path string, in, out any) error {
	answer, err := c.open(ctx, method, path, in)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer func() { _ = answer.Body.Close() }() // it was read to its end
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(answer.Body).Decode(out); err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return nil
}

// open sends the request and returns an answer in the two hundreds, its body still to be read and closed.
func (c client) open(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	ask, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	ask.Header.Set("Authorization", "Bearer "+c.token)
	if in != nil {
		ask.Header.Set("Content-Type", "application/json")
	}
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 4096)) // what could be read is what can be told
		return nil, refused{answer.StatusCode, strings.TrimSpace(string(text) + closing(answer.Body))}
	}
	return answer, nil
}

func closing(c io.Closer) string {
	if err := c.Close(); err != nil {
		return " (" + err.Error() + ")"
	}
	return ""
}

// entry is one line of an order's timeline.
type entry struct {
	At      time.Time `json:"at"`
	Service string    `json:"service"`
	What    string    `json:"what"`
	By      string    `json:"by"`
	Detail  any       `json:"detail"`
}

// follow hands every entry of an order's life to see, as it happens, until see has seen enough or ctx ends.
func (c client) follow(ctx context.Context, order string, see func(entry) (enough bool)) error {
	answer, err := c.open(ctx, http.MethodGet, "/orders/"+order+"/events", nil)
	if err != nil {
		return fmt.Errorf("follow order %s: %w", order, err)
	}
	defer func() { _ = answer.Body.Close() }() // a stream has no end to be read to
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		if !ok {
			continue
		}
		var e entry
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return fmt.Errorf("follow order %s: %w", order, err)
		}
		if see(e) {
			return nil
		}
	}
	return fmt.Errorf("follow order %s: the stream ended early: %w", order, context.Cause(ctx))
}

// detail is what the entry says beyond its name, on one line.
func (e entry) detail() string {
	switch d := e.Detail.(type) {
	case nil:
		return ""
	case string:
		return d
	default:
		text, _ := json.Marshal(d) // it was JSON a moment ago
		return string(text)
	}
}
