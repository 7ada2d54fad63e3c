package dlqreplayer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
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

// get reads path into out.
func get(ctx context.Context, path string, out any) error {
	r, _, err := config.Load("dlq-replayer", "", os.Environ(), remote{URL: "http://127.0.0.1:8085"}, remote.check) //nolint:forbidigo // pkg/config reads it; the service has no words of its own for this
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(r.URL, "/")+"/api/v1"+path, nil)
	if err != nil {
		return fmt.Errorf("DLQ_REPLAYER_URL: %w", err)
	}
	ask.Header.Set("Authorization", "Bearer "+r.Token.Reveal())
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return fmt.Errorf("ask dlq-replayer (DLQ_REPLAYER_URL says where it is): %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("ask dlq-replayer: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		var problem struct{ Detail string }
		_ = json.Unmarshal(body, &problem) // what is no problem has no detail
		return fmt.Errorf("dlq-replayer answers %s: %s", answer.Status, problem.Detail)
	}
	return json.Unmarshal(body, out)
}

// show gets path and prints it as it is, or as the table that rows make of it.
func show[T any](cmd *cobra.Command, path, format string, table func(out io.Writer, all T)) error {
	if format != "table" && format != "json" {
		return fmt.Errorf("-o is %q: it is table or json", format)
	}
	if format == "json" {
		var plain json.RawMessage
		if err := get(cmd.Context(), path, &plain); err != nil {
			return err
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace(string(plain)))
		return err
	}
	var all T
	if err := get(cmd.Context(), path, &all); err != nil {
		return err
	}
	out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	table(out, all)
	return out.Flush()
}

func causesCommand() *cobra.Command {
	var format string
	var all bool
	cmd := &cobra.Command{
		Use: "causes", Short: "List what letters died of, the most deadly first", Args: cobra.NoArgs,
		Example: "  dlq-replayer causes\n  dlq-replayer causes -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(cmd, fmt.Sprintf("/causes?all=%t", all), format, func(out io.Writer, found struct {
				Causes []struct {
					ID, Group, Kind, Message string
					Dead, LastHour           int64
				}
			},
			) {
				_, _ = fmt.Fprintln(out, "CAUSE\tGROUP\tDEAD\tLAST HOUR\tKIND\tMESSAGE")
				for _, c := range found.Causes {
					_, _ = fmt.Fprintf(out, "%s\t%s\t%d\t%d\t%s\t%s\n", c.ID, c.Group, c.Dead, c.LastHour, c.Kind, oneLine(c.Message))
				}
			})
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	cmd.Flags().BoolVar(&all, "all", false, "also causes without a dead letter")
	return cmd
}

func lettersCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "letters", Short: "List and read dead letters"}
	cmd.AddCommand(listCommand(), showCommand())
	return cmd
}

func listCommand() *cobra.Command {
	var format string
	filters := map[string]*string{}
	cmd := &cobra.Command{
		Use: "list", Short: "List letters, the newest first", Args: cobra.NoArgs,
		Example: "  dlq-replayer letters list --group inventory\n  dlq-replayer letters list --cause 3f0c… --limit 500 -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			for name, value := range filters {
				if *value != "" {
					query.Set(name, *value)
				}
			}
			return show(cmd, "/letters?"+query.Encode(), format, func(out io.Writer, found struct {
				Letters []struct {
					ID, State, Group, Topic, ErrorKind, Error string
					Deaths                                    int
					LastFailedAt                              time.Time
				}
				Next string
			},
			) {
				_, _ = fmt.Fprintln(out, "LETTER\tSTATE\tGROUP\tTOPIC\tDEATHS\tLAST FAILED\tKIND\tERROR")
				for _, l := range found.Letters {
					_, _ = fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", l.ID, l.State, l.Group, l.Topic, l.Deaths,
						l.LastFailedAt.Format(time.DateTime), l.ErrorKind, oneLine(l.Error))
				}
				if found.Next != "" {
					_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "there are more: --cursor %s\n", found.Next)
				}
			})
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	for name, usage := range map[string]string{
		"cause": "of one cause", "group": "of one consumer group", "topic": "read from one topic", "type": "of one event type",
		"kind": "of one kind of error", "state": "dead, discarded or applied", "limit": "how many, 50 if not said", "cursor": "go on after a page",
	} {
		filters[name] = cmd.Flags().String(name, "", usage)
	}
	return cmd
}

func showCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show LETTER", Short: "Print one letter with its headers, its value and its failures, as JSON", Args: cobra.ExactArgs(1),
		Example: "  dlq-replayer letters show 0d9f…",
		RunE: func(cmd *cobra.Command, args []string) error {
			var whole any
			if err := get(cmd.Context(), "/letters/"+url.PathEscape(args[0]), &whole); err != nil {
				return err
			}
			out := json.NewEncoder(cmd.OutOrStdout())
			out.SetIndent("", "  ")
			return out.Encode(whole)
		},
	}
}

// oneLine is a text that stays in its row and leaves the terminal alone.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}
