package run

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
)

// place names an offset for people.
func place(o kafka.OffsetRow) string {
	return fmt.Sprintf("%s on %s/%d", o.Group, o.Topic, o.Partition)
}

// offsetStore is where a service's offsets are kept.
type offsetStore struct {
	list func(context.Context) ([]kafka.OffsetRow, error)
	set  func(ctx context.Context, group, topic string, partition int, next int64) error
}

// offsetsCommand makes the words about offsets; open opens the store, and its close ends it.
func offsetsCommand(name string, open func() (offsetStore, io.Closer, error)) *cobra.Command {
	with := func(do func(*cobra.Command, offsetStore) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, _ []string) error {
			store, closer, err := open()
			if err != nil {
				return err
			}
			return errors.Join(do(cmd, store), closer.Close())
		}
	}
	show := &cobra.Command{Use: "show", Short: "Print where each group goes on, and what became of what it passed", Args: cobra.NoArgs, RunE: with(showOffsets)}
	parent := &cobra.Command{Use: "offsets", Short: "Show or set where this service goes on reading", Args: cobra.NoArgs}
	parent.AddCommand(show, setCommand(name, with))
	return parent
}

func showOffsets(cmd *cobra.Command, store offsetStore) error {
	all, err := store.list(cmd.Context())
	if err != nil {
		return fmt.Errorf("read offsets: %w", err)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "GROUP\tTOPIC\tPARTITION\tNEXT\tAPPLIED\tPARKED\tDEAD")
	for _, o := range all {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\n", o.Group, o.Topic, o.Partition, o.Next, o.Applied, o.Parked, o.Dead)
	}
	return w.Flush()
}

func setCommand(name string, with func(func(*cobra.Command, offsetStore) error) func(*cobra.Command, []string) error) *cobra.Command {
	var want kafka.OffsetRow
	var yes bool
	cmd := &cobra.Command{
		Use:   "set",
		Short: "Set where a group goes on in one partition",
		Long: "Set where a group goes on in one partition. Going back is harmless: what was applied is applied once.\n" +
			"Going forward leaves records out for good. A service that runs takes the new offset up by itself.",
		Example: fmt.Sprintf("  %s offsets set --group %[1]s --topic order-status-changes --partition 3 --next 1200", name),
		Args:    cobra.NoArgs,
		RunE:    with(func(cmd *cobra.Command, store offsetStore) error { return setOffset(cmd, store, want, yes) }),
	}
	cmd.Flags().StringVar(&want.Group, "group", name, "the consumer group")
	cmd.Flags().StringVar(&want.Topic, "topic", "", "the topic, as offsets show prints it (required)")
	cmd.Flags().IntVar(&want.Partition, "partition", 0, "the partition (required)")
	cmd.Flags().Int64Var(&want.Next, "next", 0, "the offset to read next (required)")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	for _, flag := range []string{"topic", "partition", "next"} {
		_ = cmd.MarkFlagRequired(flag) // it fails only for a flag that does not exist
	}
	return cmd
}

func setOffset(cmd *cobra.Command, store offsetStore, want kafka.OffsetRow, yes bool) error {
	if want.Next < 0 {
		return fmt.Errorf("--next is %d: offsets begin at 0", want.Next)
	}
	all, err := store.list(cmd.Context())
	if err != nil {
		return fmt.Errorf("read offsets: %w", err)
	}
	for _, now := range all {
		if place(now) != place(want) {
			continue
		}
		if !yes {
			if err := confirm(cmd, now, want.Next); err != nil {
				return err
			}
		}
		if err := store.set(cmd.Context(), want.Group, want.Topic, want.Partition, want.Next); err != nil {
			return fmt.Errorf("set the offset of %s: %w", place(now), err)
		}
		_, err := fmt.Fprintf(cmd.ErrOrStderr(), "%s goes on at %d (was %d)\n", place(now), want.Next, now.Next)
		return err
	}
	return fmt.Errorf("there is no offset of %s: `offsets show` lists those there are", place(want))
}

// confirm asks on a terminal; a script has to say --yes.
func confirm(cmd *cobra.Command, now kafka.OffsetRow, next int64) error {
	if f, ok := cmd.InOrStdin().(*os.File); ok {
		if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
			return errors.New("setting an offset needs --yes where nobody can be asked")
		}
	}
	what := fmt.Sprintf("reads %d records again, harmless", now.Next-next)
	if next > now.Next {
		what = fmt.Sprintf("leaves %d records out for good", next-now.Next)
	}
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s goes on at %d. Going on at %d %s. Do it? [y/N] ", place(now), now.Next, next, what)
	answer, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if strings.ToLower(strings.TrimSpace(answer)) != "y" {
		return errors.New("nothing was changed")
	}
	return nil
}

// offsets opens the service's own.
func (w *words[C]) offsets() (offsetStore, io.Closer, error) {
	c, err := w.load()
	if err != nil {
		return offsetStore{}, nil, err
	}
	db, err := database.Open(w.Database(c))
	if err != nil {
		return offsetStore{}, nil, err
	}
	return offsetStore{
		list: func(ctx context.Context) ([]kafka.OffsetRow, error) { return kafka.Offsets(ctx, db) },
		set: func(ctx context.Context, group, topic string, partition int, next int64) error {
			return kafka.SetOffset(ctx, db, group, topic, partition, next)
		},
	}, db, nil
}
