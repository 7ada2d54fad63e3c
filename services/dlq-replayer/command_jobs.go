package dlqreplayer

import (
	"context"
	"encoding/json"
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

// job is what the server says of a job.
type job struct {
	ID, Mode, State, Why, Reason, By string
	Rate, BudgetPercent, Total       int
	Counts                           map[string]int
	CreatedAt                        time.Time
}

// through says that nothing more will happen to j unless somebody does something.
func (j job) through() bool {
	return j.State == "paused" || j.Counts["waiting"]+j.Counts["sent"] == 0
}

// ended is an exit code, and why.
type ended struct {
	code int
	why  string
}

func (e ended) Error() string { return e.why }
func (e ended) ExitCode() int { return e.code }

// verdict is how a command ends that waited for j: nil when all is applied, 3 when some failed again, 4 when the job
// paused or was cancelled, 1 for the rest.
func (j job) verdict() error {
	failed, rest := j.Counts["failed-again"], j.Counts["skipped"]+j.Counts["no-answer"]
	switch {
	case j.State == "paused":
		return ended{4, fmt.Sprintf("job %s is paused: %s", j.ID, j.Why)}
	case j.State == "cancelled":
		return ended{4, fmt.Sprintf("job %s was cancelled", j.ID)}
	case failed > 0:
		return ended{3, fmt.Sprintf("%d letters failed again: dlq-replayer jobs show %s --outcome failed-again", failed, j.ID)}
	case rest > 0:
		return ended{1, fmt.Sprintf("%d letters were skipped or not answered for: dlq-replayer jobs show %s --outcome skipped (or no-answer)", rest, j.ID)}
	}
	return nil
}

// line is j in one line.
func (j job) line() string {
	var parts []string
	for _, outcome := range []string{"applied", "already-applied", "failed-again", "no-answer", "skipped", "not-sent", "sent", "waiting"} {
		if n := j.Counts[outcome]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, outcome))
		}
	}
	return fmt.Sprintf("%s %s: %s", j.Mode, j.State, strings.Join(parts, ", "))
}

func tellJob(out io.Writer, j job) {
	_, _ = fmt.Fprintf(out, "job %s\t%s\n", j.ID, j.line())
	if j.Why != "" {
		_, _ = fmt.Fprintf(out, "why\t%s\n", oneLine(j.Why))
	}
}

func jobsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "jobs", Short: "Rehearse and run replays, and watch them",
		Example: "  dlq-replayer jobs rehearse --cause 3f0c… --reason 'is 1.4 good enough?'\n  dlq-replayer jobs run --cause 3f0c… --reason 'mended in 1.4' --wait",
	}
	cmd.AddCommand(
		startCommand("rehearse", "Ask the group what would become of letters; nothing is changed", true),
		startCommand("run", "Send letters back to the group that failed", false),
		watchCommand(), jobListCommand(), jobShowCommand(),
		actCommand("pause", "Send nothing more until somebody resumes"),
		actCommand("resume", "Go on, beginning with one letter"),
		actCommand("cancel", "Send nothing more; what was sent is still heard of"))
	return cmd
}

func startCommand(mode, short string, waits bool) *cobra.Command {
	cmd := &cobra.Command{
		Use: mode, Short: short, Args: cobra.NoArgs,
		Long: short + `.

Exit status with --wait: 0 all applied, 3 some failed again, 4 paused or cancelled, 1 anything else.`,
		Example: fmt.Sprintf("  dlq-replayer jobs %s --cause 3f0c… --reason 'the item is listed now'", mode),
	}
	f := formatFlag(cmd)
	reason, selected := reasonFlag(cmd), selectionFlags(cmd)
	rate := cmd.Flags().Int("rate", 0, "letters a second, at most (50, of a rehearsal 500)")
	budget := cmd.Flags().Int("budget", -1, "percent that may fail again before the job pauses (5)")
	wait := cmd.Flags().Bool("wait", waits, "wait until the job ends or pauses")
	dry, yes := new(bool), new(bool)
	if mode == "run" {
		dry = cmd.Flags().Bool("dry-run", false, "rehearse only")
		yes = yesFlag(cmd)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(); err != nil {
			return err
		}
		selection, err := selected()
		if err != nil {
			return err
		}
		order := map[string]any{"mode": mode, "selection": selection, "reason": *reason, "rate": *rate}
		if *dry {
			order["mode"] = "rehearse"
		}
		if *budget >= 0 {
			order["budgetPercent"] = *budget
		}
		if _, everything := selection["filter"]; everything && len(selection) == 1 && cmd.Flags().Changed("all") && mode == "run" && !*dry {
			if err := sure(cmd, *yes, "Replay every dead letter of every group?"); err != nil {
				return err
			}
		}
		var plain json.RawMessage
		if err := ask(cmd.Context(), http.MethodPost, "/jobs", order, &plain); err != nil {
			return err
		}
		if *wait {
			return follow(cmd, *f, plain)
		}
		if err := display(cmd, *f, plain, tellJob); err != nil {
			return err
		}
		var j job
		if err := json.Unmarshal(plain, &j); err == nil {
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "watch it: dlq-replayer jobs watch %s\n", j.ID)
		}
		return nil
	}
	return cmd
}

func watchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "watch JOB", Short: "Show how a job goes until it ends or pauses", Args: cobra.ExactArgs(1),
		Long: "Show how a job goes until it ends or pauses. Ctrl-C ends the watching, not the job.\n\nExit status: 0 all applied, 3 some failed again, 4 paused or cancelled, 1 anything else.",
	}
	f := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		var plain json.RawMessage
		if err := ask(cmd.Context(), http.MethodGet, "/jobs/"+url.PathEscape(args[0]), nil, &plain); err != nil {
			return err
		}
		return follow(cmd, *f, plain)
	}
	return cmd
}

// patience is how long follow puts up with a server that is away: it may be restarting.
const patience = time.Minute

// follow waits until the job is through, showing its progress on a terminal, and ends as it ended.
func follow(cmd *cobra.Command, f format, plain json.RawMessage) error {
	live := terminal(cmd.ErrOrStderr())
	heard := time.Now()
	var j job
	for {
		j = job{}
		if err := json.Unmarshal(plain, &j); err != nil {
			return fmt.Errorf("read dlq-replayer's answer: %w", err)
		}
		if live {
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "\r\x1b[K%s", bar(j))
		}
		if j.through() {
			break
		}
		select {
		case <-cmd.Context().Done():
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "\nthe job goes on: dlq-replayer jobs watch %s\n", j.ID)
			return cmd.Context().Err()
		case <-time.After(300 * time.Millisecond):
		}
		next, err := again(cmd.Context(), j.ID)
		switch {
		case err == nil:
			plain, heard = next, time.Now()
		case time.Since(heard) > patience:
			return err
		}
	}
	if live {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr())
	}
	if err := display(cmd, f, plain, tellJob); err != nil {
		return err
	}
	return j.verdict()
}

func again(ctx context.Context, id string) (plain json.RawMessage, err error) {
	err = ask(ctx, http.MethodGet, "/jobs/"+url.PathEscape(id), nil, &plain)
	return plain, err
}

// terminal says whether a person looks at out.
func terminal(out io.Writer) bool {
	file, is := out.(*os.File)
	if !is {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// bar draws how far a job is.
func bar(j job) string {
	const width = 30
	through := j.Total - j.Counts["waiting"] - j.Counts["sent"]
	filled := width
	if j.Total > 0 {
		filled = width * through / j.Total
	}
	return fmt.Sprintf("[%s%s] %d/%d %s", strings.Repeat("=", filled), strings.Repeat(" ", width-filled), through, j.Total, j.line())
}

func jobListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List jobs, the newest first", Args: cobra.NoArgs}
	f := formatFlag(cmd)
	state := cmd.Flags().String("state", "", "running, paused, cancelled or done")
	limit := cmd.Flags().Int("limit", 50, "how many")
	cursor := cmd.Flags().String("cursor", "", "go on after a page")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		query := address(map[string]string{"state": *state, "limit": strconv.Itoa(*limit), "cursor": *cursor})
		return show(cmd, *f, http.MethodGet, "/jobs?"+query, nil, func(out io.Writer, found struct {
			Jobs []job
			Next string
		},
		) {
			_, _ = fmt.Fprintln(out, "JOB\tCREATED\tBY\tTOTAL\tSTATE\tREASON")
			for _, j := range found.Jobs {
				_, _ = fmt.Fprintf(out, "%s\t%s\t%s\t%d\t%s\t%s\n", j.ID, j.CreatedAt.Format(time.DateTime), oneLine(j.By), j.Total, j.line(), oneLine(j.Reason))
			}
			if found.Next != "" {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "there are more: --cursor %s\n", found.Next)
			}
		})
	}
	return cmd
}

func jobShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show JOB", Short: "Show a job, and with --outcome its letters", Args: cobra.ExactArgs(1),
		Example: "  dlq-replayer jobs show 01a2…\n  dlq-replayer jobs show 01a2… --outcome failed-again",
	}
	f := formatFlag(cmd)
	outcome := cmd.Flags().String("outcome", "", "list the letters with this outcome: applied, already-applied, failed-again, no-answer, skipped, not-sent, sent, waiting or all")
	limit := cmd.Flags().Int("limit", 50, "how many letters")
	cursor := cmd.Flags().String("cursor", "", "go on after a page")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path := "/jobs/" + url.PathEscape(args[0])
		if *outcome == "" {
			return show(cmd, *f, http.MethodGet, path, nil, tellJob)
		}
		set := map[string]string{"limit": strconv.Itoa(*limit), "cursor": *cursor}
		if *outcome != "all" {
			set["outcome"] = *outcome
		}
		return show(cmd, *f, http.MethodGet, path+"/letters?"+address(set), nil, func(out io.Writer, found struct {
			Letters []struct {
				Letter, Outcome, ErrorKind, Error string
				Asks                              int
			}
			Next string
		},
		) {
			_, _ = fmt.Fprintln(out, "LETTER\tOUTCOME\tASKS\tKIND\tERROR")
			for _, l := range found.Letters {
				_, _ = fmt.Fprintf(out, "%s\t%s\t%d\t%s\t%s\n", l.Letter, l.Outcome, l.Asks, oneLine(l.ErrorKind), oneLine(l.Error))
			}
			if found.Next != "" {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "there are more: --cursor %s\n", found.Next)
			}
		})
	}
	return cmd
}

func actCommand(verb, short string) *cobra.Command {
	cmd := &cobra.Command{Use: verb + " JOB", Short: short, Args: cobra.ExactArgs(1)}
	f := formatFlag(cmd)
	reason := cmd.Flags().String("reason", "", "why; the audit keeps it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return show(cmd, *f, http.MethodPost, "/jobs/"+url.PathEscape(args[0])+"/"+verb, map[string]string{"reason": *reason}, tellJob)
	}
	return cmd
}
