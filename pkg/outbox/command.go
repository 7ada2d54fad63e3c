package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

// Command is `outbox` with what a person may want of it: status and republish. open opens the service's database; the
// command closes it.
func Command(open func() (*database.DB, error)) *cobra.Command {
	with := func(do func(cmd *cobra.Command, db *database.DB) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, _ []string) error {
			db, err := open()
			if err != nil {
				return err
			}
			return errors.Join(do(cmd, db), db.Close())
		}
	}
	cmd := &cobra.Command{Use: "outbox", Short: "Look at the events on their way to Kafka, or send old ones again"}
	cmd.AddCommand(&cobra.Command{
		Use:   "status",
		Short: "Print how many events wait and how far back events can be republished",
		Args:  cobra.NoArgs,
		RunE:  with(status),
	}, republishCommand(with))
	return cmd
}

func status(cmd *cobra.Command, db *database.DB) error {
	waiting, err := Unsent(cmd.Context(), db)
	if err != nil {
		return err
	}
	kept, oldest, err := held(cmd.Context(), db)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "waiting\t%d\nkept\t%d\noldest\t%s\n", waiting, kept, oldest)
	return err
}

// held is how many events the outbox has, and since when.
func held(ctx context.Context, db *database.DB) (n int64, oldest string, err error) {
	var at int64
	err = db.QueryRowContext(ctx, `SELECT count(*), coalesce(min(created_at), 0) FROM outbox`).Scan(&n, &at)
	if err != nil || n == 0 {
		return n, "-", err
	}
	return n, time.UnixMilli(at).UTC().Format(time.RFC3339), nil
}

func republishCommand(with func(func(*cobra.Command, *database.DB) error) func(*cobra.Command, []string) error) *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use:   "republish --since <age or time>",
		Short: "Send the events since then once more, under their own ids; consumers apply none twice",
		Example: "  outbox republish --since 2h\n" +
			"  outbox republish --since 2026-03-01T08:00:00Z",
		Args: cobra.NoArgs,
		RunE: with(func(cmd *cobra.Command, db *database.DB) error {
			from, err := moment(since, time.Now())
			if err != nil {
				return err
			}
			n, err := Republish(cmd.Context(), db, from)
			_, printErr := fmt.Fprintf(cmd.OutOrStdout(), "%d events since %s will be sent again\n", n, from.UTC().Format(time.RFC3339))
			return errors.Join(err, printErr)
		}),
	}
	cmd.Flags().StringVar(&since, "since", "", "an age such as 90m, or a time as in RFC 3339")
	_ = cmd.MarkFlagRequired("since") // the flag exists
	return cmd
}

// moment reads an age before now or a time.
func moment(s string, now time.Time) (time.Time, error) {
	if age, err := time.ParseDuration(s); err == nil && age > 0 {
		return now.Add(-age), nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return at, fmt.Errorf("--since is %q: it must be an age such as 90m or a time such as 2026-03-01T08:00:00Z", s)
	}
	return at, nil
}
