package dlqreplayer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/floodgate-dev/floodgate/pkg/config"
)

// remote is the server that an operator's command asks: DLQ_REPLAYER_URL and DLQ_REPLAYER_TOKEN.
type remote struct {
	URL   string        `mapstructure:"url"`
	Token config.Secret `mapstructure:"token"`
}

func (r remote) check() []string {
	if r.Token.Reveal() == "" {
		return []string{"DLQ_REPLAYER_TOKEN is not set: put a token with the role viewer or operator into it"}
	}
	return nil
}

// call asks the server; the caller closes the answer's body. A refusal is an error in the server's words.
func call(ctx context.Context, method, path, contentType string, in io.Reader) (*http.Response, error) {
	r, _, err := config.Load("dlq-replayer", "", os.Environ(), remote{URL: "http://127.0.0.1:8085"}, remote.check) //nolint:forbidigo // pkg/config reads it; the service has no words of its own for this
	if err != nil {
		return nil, err
	}
	ask, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(r.URL, "/")+"/api/v1"+path, in)
	if err != nil {
		return nil, fmt.Errorf("DLQ_REPLAYER_URL: %w", err)
	}
	ask.Header.Set("Authorization", "Bearer "+r.Token.Reveal())
	if in != nil {
		ask.Header.Set("Content-Type", contentType)
	}
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return nil, fmt.Errorf("ask dlq-replayer (DLQ_REPLAYER_URL says where it is): %w", err)
	}
	if answer.StatusCode < 300 {
		return answer, nil
	}
	defer func() { _ = answer.Body.Close() }()
	var problem struct{ Detail string }
	_ = json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&problem) // what is no problem has no detail
	return nil, fmt.Errorf("dlq-replayer answers %s: %s", answer.Status, problem.Detail)
}

// ask sends in as JSON, nil for nothing, and reads the answer into out.
func ask(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	answer, err := call(ctx, method, path, "application/json", body)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if err := json.NewDecoder(answer.Body).Decode(out); err != nil {
		return fmt.Errorf("read dlq-replayer's answer: %w", err)
	}
	return nil
}

// format is the flag -o.
type format string

func formatFlag(cmd *cobra.Command) *format {
	f := format("table")
	cmd.Flags().StringVarP((*string)(&f), "output", "o", "table", "table or json")
	return &f
}

func (f format) check() error {
	if f != "table" && f != "json" {
		return fmt.Errorf("-o is %q: it is table or json", f)
	}
	return nil
}

// show asks and prints the answer as it is, or as the table that rows make of it.
func show[T any](cmd *cobra.Command, f format, method, path string, in any, table func(out io.Writer, all T)) error {
	if err := f.check(); err != nil {
		return err
	}
	var plain json.RawMessage
	if err := ask(cmd.Context(), method, path, in, &plain); err != nil {
		return err
	}
	return display(cmd, f, plain, table)
}

// display prints JSON that the server answered.
func display[T any](cmd *cobra.Command, f format, plain json.RawMessage, table func(out io.Writer, all T)) error {
	if f == "json" {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace(string(plain)))
		return err
	}
	var all T
	if err := json.Unmarshal(plain, &all); err != nil {
		return fmt.Errorf("read dlq-replayer's answer: %w", err)
	}
	out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	table(out, all)
	return out.Flush()
}

// oneLine is a text that stays in its row and leaves the terminal alone.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}

// sure asks a person on a terminal before something that is hard to undo; --yes answers for scripts.
func sure(cmd *cobra.Command, yes bool, question string) error {
	if yes {
		return nil
	}
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s [y/N] ", question)
	var answer string
	if _, err := fmt.Fscanln(cmd.InOrStdin(), &answer); err != nil || !strings.EqualFold(answer, "y") && !strings.EqualFold(answer, "yes") {
		return errors.New("nothing was done; --yes answers for scripts")
	}
	return nil
}
