package books

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"
)

// The exit statuses of `make books`.
const (
	balanced   = 0
	unbalanced = 1
	notQuiet   = 2
)

// Main is the command: it prints the books of the running suite and says by its status whether they balance. A suite
// that cannot be read is not quiet.
func Main(ctx context.Context, args []string, out, complaints io.Writer) int {
	flags := flag.NewFlagSet("books", flag.ContinueOnError)
	flags.SetOutput(complaints)
	root := flags.String("state", ".floodgate", "the folder of the suite's state")
	limit := flags.Duration("wait", time.Minute, "how long to wait for quiet")
	if err := flags.Parse(args); err != nil {
		return notQuiet
	}
	report, err := of(ctx, *root, *limit)
	if err != nil {
		_, _ = fmt.Fprintln(complaints, "books:", err) // there is nobody else to tell
		return notQuiet
	}
	if _, err := fmt.Fprint(out, report); err != nil || !report.Balanced() {
		return unbalanced
	}
	return balanced
}

func of(ctx context.Context, root string, limit time.Duration) (Report, error) {
	stores, err := Find(root)
	if err != nil {
		return Report{}, err
	}
	return Wait(ctx, stores, limit)
}
