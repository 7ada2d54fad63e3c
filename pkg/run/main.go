package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	_ "golang.org/x/crypto/x509roots/fallback" // whom to believe where the system knows no authorities: an image holds one file
)

// Main runs cmd until it ends or the process is told to stop, and exits: 0 when done or stopped as asked, 2 for bad
// settings, 1 for the rest. A second signal ends the process at once.
func Main(cmd *cobra.Command) {
	ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, release)
	os.Exit(execute(ctx, cmd, os.Stderr)) //nolint:forbidigo // the one place that ends a service
}

// execute runs cmd, says on stderr what went wrong, and tells the exit code.
func execute(ctx context.Context, cmd *cobra.Command, stderr io.Writer) int {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(ctx)
	if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return 0
	}
	_, _ = fmt.Fprintln(stderr, err)
	if coded, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		return coded.ExitCode()
	}
	return 1
}

// TakenPort tells which port err complains about, if it is one that another process holds.
func TakenPort(err error) (port int, taken bool) {
	listen, ok := errors.AsType[*net.OpError](err)
	if !ok || !errors.Is(err, syscall.EADDRINUSE) {
		return 0, false
	}
	addr, ok := listen.Addr.(*net.TCPAddr)
	if !ok {
		return 0, false
	}
	return addr.Port, true
}
