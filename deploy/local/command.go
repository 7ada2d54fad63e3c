package local

import (
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Command is the command line of the suite in one process. DEMO=off in environ places no order.
func Command(environ []string, out io.Writer) *cobra.Command {
	cfg := Config{Environ: environ, Demo: demo(environ), Out: out}
	cmd := &cobra.Command{
		Use:     "floodgate",
		Short:   "Run the whole suite in one process on embedded parts",
		Example: "  floodgate\n  DEMO=off ORDER_API_PORT=8090 floodgate",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return Run(cmd.Context(), cfg) },
	}
	cmd.Flags().StringVar(&cfg.Root, "state", ".floodgate", "keep all state in this folder")
	return cmd
}

func demo(environ []string) bool {
	off := []string{"off", "false", "no", "0"}
	return !slices.ContainsFunc(environ, func(pair string) bool {
		value, ok := strings.CutPrefix(pair, "DEMO=")
		return ok && slices.Contains(off, strings.ToLower(value))
	})
}
