package smoke

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// client asks order-api as any caller would.
type client struct{ base, token string }

// web gives up on one answer long before the try gives up.
var web = &http.Client{Timeout: 10 * time.Second}

// refusal is an answer that is not the hoped-for one.
type refusal struct {
	status int
	body   string
	wait   bool // it may become another answer
}

func (r *refusal) Error() string { return fmt.Sprintf("answered %d %s", r.status, r.body) }

// final says that asking again cannot help: the fault is the question's.
func (r *refusal) final() bool {
	return !r.wait && r.status < 500 && r.status != http.StatusTooManyRequests
}

// later makes what is refused now worth asking again: it is on its way here.
func later(err error) error {
	refused, ok := errors.AsType[*refusal](err)
	if ok && (refused.status == http.StatusNotFound || refused.status == http.StatusUnprocessableEntity || refused.status == http.StatusConflict) {
		return &refusal{refused.status, refused.body, true}
	}
	return err
}

// call sends in as JSON, where there is one, and reads the answer into out, where there is one. Headers come in pairs.
func (c client) call(ctx context.Context, method, path string, in, out any, headers ...string) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	ask, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.base, "/")+"/api/v1"+path, body)
	if err != nil {
		return err
	}
	ask.Header.Set("Authorization", "Bearer "+c.token)
	if in != nil {
		ask.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		ask.Header.Set(headers[i], headers[i+1])
	}
	answer, err := web.Do(ask)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // it was read to its end
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %w", method, path, &refusal{status: answer.StatusCode, body: strings.TrimSpace(string(text))})
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return nil
}
