package dlqreplayer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// filters are the flags that select letters, by what the API calls them.
var filters = []struct{ name, usage string }{
	{"cause", "of one cause"},
	{"group", "of one consumer group"},
	{"topic", "read from one topic"},
	{"type", "of one event type"},
	{"kind", "of one kind of error"},
	{"key", "with one key"},
	{"text", "whose error has this text in it"},
	{"after", "whose newest death is not before this time (RFC 3339)"},
	{"before", "whose newest death is before this time (RFC 3339)"},
}

// filterFlags gives cmd the filters and more, and returns what was set once it runs.
func filterFlags(cmd *cobra.Command, more ...[2]string) func() map[string]string {
	values := map[string]*string{}
	for _, f := range filters {
		values[f.name] = cmd.Flags().String(f.name, "", f.usage)
	}
	for _, f := range more {
		values[f[0]] = cmd.Flags().String(f[0], "", f[1])
	}
	return func() map[string]string {
		set := map[string]string{}
		for name, value := range values {
			if *value != "" {
				set[name] = *value
			}
		}
		return set
	}
}

// selectionFlags lets cmd select letters: --id, or filters. What is not selected on purpose is not selected.
func selectionFlags(cmd *cobra.Command) func() (map[string]any, error) {
	ids := cmd.Flags().StringSlice("id", nil, "one letter; may be repeated")
	all := cmd.Flags().Bool("all", false, "every dead letter")
	filter := filterFlags(cmd)
	return func() (map[string]any, error) {
		set := filter()
		switch {
		case len(*ids) > 0 && len(set) == 0 && !*all:
			return map[string]any{"ids": *ids}, nil
		case len(*ids) == 0 && (len(set) > 0) != *all:
			return map[string]any{"filter": set}, nil
		}
		return nil, errors.New("say which letters: --id, or filters such as --cause, or --all")
	}
}

func reasonFlag(cmd *cobra.Command) *string {
	reason := cmd.Flags().String("reason", "", "why; the audit keeps it (required)")
	_ = cmd.MarkFlagRequired("reason") // it exists
	return reason
}

func yesFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().BoolP("yes", "y", false, "do not ask")
}

func causesCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "causes", Short: "List what letters died of, the most deadly first", Args: cobra.NoArgs,
		Example: "  dlq-replayer causes\n  dlq-replayer causes -o json\n  dlq-replayer causes note 3f0c… --note 'known, mended in 1.4' --mute",
	}
	f := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return show(cmd, *f, http.MethodGet, fmt.Sprintf("/causes?all=%t", all), nil, func(out io.Writer, found struct {
			Causes []struct {
				ID, Group, Kind, Message, Note string
				Dead, LastHour                 int64
				Muted                          bool
			}
			Expiring int
			Within   string
		},
		) {
			_, _ = fmt.Fprintln(out, "CAUSE\tGROUP\tDEAD\tLAST HOUR\tKIND\tMESSAGE\tNOTE")
			for _, c := range found.Causes {
				if c.Muted {
					c.Note = strings.TrimSpace("(muted) " + c.Note)
				}
				_, _ = fmt.Fprintf(out, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", c.ID, oneLine(c.Group), c.Dead, c.LastHour, oneLine(c.Kind), oneLine(c.Message), oneLine(c.Note))
			}
			if found.Expiring > 0 {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%d letters that are dead or quarantined will be deleted for their age within %s\n", found.Expiring, found.Within)
			}
			if len(found.Causes) > 0 {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "look at one: dlq-replayer letters list --cause %s\n", found.Causes[0].ID)
			}
		})
	}
	cmd.Flags().BoolVar(&all, "all", false, "also causes without a dead letter")
	cmd.AddCommand(noteCommand())
	return cmd
}

func noteCommand() *cobra.Command {
	var note string
	var mute bool
	cmd := &cobra.Command{
		Use: "note CAUSE", Short: "Keep a note on a cause, and mute it or not", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out json.RawMessage
			return ask(cmd.Context(), http.MethodPatch, "/causes/"+url.PathEscape(args[0]), map[string]any{"note": note, "muted": mute}, &out)
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "what there is to say")
	cmd.Flags().BoolVar(&mute, "mute", false, "nobody needs to look at it")
	return cmd
}

func lettersCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "letters", Short: "List, read, mend and sort out dead letters"}
	cmd.AddCommand(
		listCommand(), showCommand(), editCommand(), originalCommand(),
		fateCommand("discard", "Decide that nobody needs the letters"),
		fateCommand("quarantine", "Set letters aside: no job takes them until they are restored"),
		fateCommand("restore", "Let letters that were discarded or quarantined be dead again"),
		exportCommand(), importCommand())
	return cmd
}

func listCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List letters, the newest first", Args: cobra.NoArgs,
		Example: "  dlq-replayer letters list --group inventory\n  dlq-replayer letters list --cause 3f0c… --limit 500 -o json",
	}
	f := formatFlag(cmd)
	set := filterFlags(cmd, [2]string{"state", "dead, quarantined, discarded or applied"}, [2]string{"limit", "how many, 50 if not said"}, [2]string{"cursor", "go on after a page"})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return show(cmd, *f, http.MethodGet, "/letters?"+address(set()), nil, func(out io.Writer, found struct {
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
				_, _ = fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", l.ID, l.State, oneLine(l.Group), oneLine(l.Topic), l.Deaths,
					l.LastFailedAt.Format(time.DateTime), oneLine(l.ErrorKind), oneLine(l.Error))
			}
			if found.Next != "" {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "there are more: --cursor %s\n", found.Next)
			}
		})
	}
	return cmd
}

// address is filters as an address has them.
func address(set map[string]string) string {
	query := url.Values{}
	for name, value := range set {
		query.Set(name, value)
	}
	return query.Encode()
}

func showCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show LETTER", Short: "Print one letter with its headers, its value, its failures, replays and edits, as JSON", Args: cobra.ExactArgs(1),
		Example: "  dlq-replayer letters show 0d9f…",
		RunE: func(cmd *cobra.Command, args []string) error {
			var whole any
			if err := ask(cmd.Context(), http.MethodGet, "/letters/"+url.PathEscape(args[0]), nil, &whole); err != nil {
				return err
			}
			out := json.NewEncoder(cmd.OutOrStdout())
			out.SetIndent("", "  ")
			return out.Encode(whole)
		},
	}
}

// content is a file's, or that of standard input where its name is -.
func content(cmd *cobra.Command, name string) (json.RawMessage, error) {
	if name == "-" {
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(name) //nolint:gosec // the person who calls names the file
}

// mended is what a mending answers.
type mended struct {
	Mended, Unchanged int
	Refused           []struct{ Letter, Why string }
}

func tellMended(cmd *cobra.Command) func(out io.Writer, done mended) {
	return func(out io.Writer, done mended) {
		_, _ = fmt.Fprintf(out, "mended %d, unchanged %d, refused %d\n", done.Mended, done.Unchanged, len(done.Refused))
		for _, one := range done.Refused {
			_, _ = fmt.Fprintf(out, "%s\t%s\n", one.Letter, oneLine(one.Why))
		}
		if done.Mended > 0 {
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "what was mended runs after a rehearsal: dlq-replayer jobs rehearse …")
		}
	}
}

func editCommand() *cobra.Command {
	var value, patch string
	cmd := &cobra.Command{
		Use: "edit [LETTER]", Short: "Mend one letter's value as JSON, or many by a JSON Patch", Args: cobra.MaximumNArgs(1),
		Example: `  dlq-replayer letters show 0d9f… | jq .decoded > value.json    # then mend value.json
  dlq-replayer letters edit 0d9f… --value value.json --reason "user id was empty"
  echo '[{"op":"replace","path":"/order/userId","value":"u-1"}]' |
    dlq-replayer letters edit --cause 3f0c… --patch - --reason "user id was empty"`,
	}
	f := formatFlag(cmd)
	reason, yes, selected := reasonFlag(cmd), yesFlag(cmd), selectionFlags(cmd)
	cmd.Flags().StringVar(&value, "value", "", "file with the whole value as JSON, - for standard input")
	cmd.Flags().StringVar(&patch, "patch", "", "file with a JSON Patch (RFC 6902), - for standard input")
	cmd.MarkFlagsMutuallyExclusive("value", "patch")
	cmd.MarkFlagsOneRequired("value", "patch")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if value != "" {
			if len(args) != 1 {
				return errors.New("say which letter: dlq-replayer letters edit LETTER --value FILE")
			}
			text, err := content(cmd, value)
			if err != nil {
				return err
			}
			return show(cmd, *f, http.MethodPost, "/letters/"+url.PathEscape(args[0])+"/edit", map[string]any{"value": text, "reason": *reason}, tellMended(cmd))
		}
		selection, err := selected()
		if len(args) == 1 {
			selection, err = map[string]any{"ids": args}, nil
		}
		if err != nil {
			return err
		}
		text, err := content(cmd, patch)
		if err != nil {
			return err
		}
		if patch != "-" {
			if err := sure(cmd, *yes, "Mend all letters that this selects?"); err != nil {
				return err
			}
		}
		return show(cmd, *f, http.MethodPost, "/letters/patch", map[string]any{"selection": selection, "patch": text, "reason": *reason}, tellMended(cmd))
	}
	return cmd
}

func originalCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "original LETTER", Short: "Bring back the value with which a letter came", Args: cobra.ExactArgs(1)}
	f, reason := formatFlag(cmd), reasonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return show(cmd, *f, http.MethodPost, "/letters/"+url.PathEscape(args[0])+"/original", map[string]any{"reason": *reason}, tellMended(cmd))
	}
	return cmd
}

func fateCommand(fate, short string) *cobra.Command {
	cmd := &cobra.Command{
		Use: fate, Short: short, Args: cobra.NoArgs,
		Example: fmt.Sprintf("  dlq-replayer letters %s --cause 3f0c… --reason 'test orders' --yes", fate),
	}
	f := formatFlag(cmd)
	reason, yes, selected := reasonFlag(cmd), yesFlag(cmd), selectionFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		selection, err := selected()
		if err != nil {
			return err
		}
		if err := sure(cmd, *yes, fmt.Sprintf("%s all letters that this selects?", strings.ToUpper(fate[:1])+fate[1:])); err != nil {
			return err
		}
		return show(cmd, *f, http.MethodPost, "/letters/"+fate, map[string]any{"selection": selection, "reason": *reason}, func(out io.Writer, done struct{ Letters int }) {
			_, _ = fmt.Fprintf(out, "%s: %d letters\n", fate, done.Letters)
		})
	}
	return cmd
}

func exportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Short: "Print letters as NDJSON, with all that is needed to import them elsewhere", Args: cobra.NoArgs,
		Example: "  dlq-replayer letters export --cause 3f0c… > letters.ndjson",
	}
	set := filterFlags(cmd, [2]string{"state", "dead, quarantined, discarded or applied"})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		answer, err := call(cmd.Context(), http.MethodGet, "/letters/export?"+address(set()), "", nil)
		if err != nil {
			return err
		}
		defer func() { _ = answer.Body.Close() }()
		if _, err = io.Copy(cmd.OutOrStdout(), answer.Body); err != nil {
			return fmt.Errorf("the export is not whole: %w", err)
		}
		return nil
	}
	return cmd
}

func importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Store letters that were exported; those that are here already stay one", Args: cobra.ExactArgs(1),
		Example: "  dlq-replayer letters import letters.ndjson --reason 'from the old cluster'",
	}
	reason := reasonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in := cmd.InOrStdin()
		if args[0] != "-" {
			file, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = file.Close() }()
			in = file
		}
		answer, err := call(cmd.Context(), http.MethodPost, "/letters/import?"+url.Values{"reason": {*reason}}.Encode(), "application/x-ndjson", io.NopCloser(in))
		if err != nil {
			return err
		}
		defer func() { _ = answer.Body.Close() }()
		_, err = io.Copy(cmd.OutOrStdout(), answer.Body)
		return err
	}
	return cmd
}

func auditCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "Read and verify who did what, when and why"}
	list := &cobra.Command{Use: "list", Short: "List what was done, the newest first", Args: cobra.NoArgs}
	f := formatFlag(list)
	limit := list.Flags().Int("limit", 50, "how many")
	cursor := list.Flags().String("cursor", "", "go on after a page")
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		query := address(map[string]string{"limit": strconv.Itoa(*limit), "cursor": *cursor})
		return show(cmd, *f, http.MethodGet, "/audit?"+query, nil, func(out io.Writer, found struct {
			Entries []struct {
				N                            int64
				At                           time.Time
				Who, Action, Subject, Reason string
			}
			Next string
		},
		) {
			_, _ = fmt.Fprintln(out, "N\tAT\tWHO\tACTION\tSUBJECT\tREASON")
			for _, e := range found.Entries {
				_, _ = fmt.Fprintf(out, "%d\t%s\t%s\t%s\t%s\t%s\n", e.N, e.At.Format(time.DateTime), oneLine(e.Who), e.Action, oneLine(e.Subject), oneLine(e.Reason))
			}
			if found.Next != "" {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "there are more: --cursor %s\n", found.Next)
			}
		})
	}
	verify := &cobra.Command{Use: "verify", Short: "Reckon the chain anew: a row that was changed or is missing is found", Args: cobra.NoArgs}
	vf := formatFlag(verify)
	verify.RunE = func(cmd *cobra.Command, _ []string) error {
		var v struct {
			Entries      int64
			Head, Broken string
		}
		var plain json.RawMessage
		if err := ask(cmd.Context(), http.MethodGet, "/audit/verify", nil, &plain); err != nil {
			return err
		}
		if err := json.Unmarshal(plain, &v); err != nil {
			return err
		}
		if err := display(cmd, *vf, plain, func(out io.Writer, _ struct{}) {
			_, _ = fmt.Fprintf(out, "%d entries, head %s\n", v.Entries, v.Head)
		}); err != nil {
			return err
		}
		if v.Broken != "" {
			return fmt.Errorf("the audit is broken: %s", v.Broken)
		}
		return nil
	}
	cmd.AddCommand(list, verify)
	return cmd
}
