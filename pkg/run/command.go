// Package run is how a service starts and ends: its words on the command line, its signals, its exit codes, and the
// order in which its parts stop.
//
// It promises that a service stops its doors before what stands behind them, in bounded time, and that who starts it
// wrongly is told so in one go.
package run

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/spf13/cobra"

	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/database"
)

// Service is all the command line needs to know about a service with settings C.
type Service[C any] struct {
	Name     string // order-api
	Short    string // one line about what it does
	Defaults C
	Check    func(C) []string
	Serve    func(context.Context, C) error // nil when it stopped because the context ended
	Migrate  func(context.Context, C) error
	Database func(C) database.Config
	Doors    func(C) Config
	Consumes bool // has offsets to show and set
	// More makes the service's own words; load reads its settings when the word is run. May be nil.
	More func(load func() (C, error)) []*cobra.Command
}

// Command makes the service's words: serve (also with no word), migrate, config, offsets (where it consumes), health, version.
func Command[C any](s Service[C]) *cobra.Command {
	w := &words[C]{Service: s}
	root := &cobra.Command{
		Use:     s.Name,
		Short:   s.Short,
		Long:    s.Short + ".\n\nWithout a word it serves until it is told to stop (SIGTERM, Ctrl-C).",
		Example: w.examples(),
		Args:    cobra.NoArgs,
		RunE:    w.serve,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.PersistentFlags().StringVar(&w.file, "config", "", "read settings from this file (.yaml, .toml, .json); the environment wins")
	root.AddCommand(
		&cobra.Command{Use: "serve", Short: "Serve until told to stop", Args: cobra.NoArgs, RunE: w.serve},
		&cobra.Command{Use: "migrate", Short: "Bring the database's tables up to date", Args: cobra.NoArgs, RunE: w.migrate},
		&cobra.Command{Use: "config", Short: "Print the effective settings and where each came from", Args: cobra.NoArgs, RunE: w.config},
		w.healthCommand(),
		&cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, Run: w.version},
	)
	if s.Consumes {
		root.AddCommand(offsetsCommand(s.Name, w.offsets))
	}
	if s.More != nil {
		root.AddCommand(s.More(w.load)...)
	}
	return root
}

// words are a service's words and what they share.
type words[C any] struct {
	Service[C]
	file   string
	report config.Report
}

func (w *words[C]) examples() string {
	lines := []string{"%[1]s", "%[1]s config", "%[1]s --config /etc/%[1]s.yaml migrate"}
	if w.Consumes {
		lines = append(lines, "%[1]s offsets show")
	}
	return fmt.Sprintf("  "+strings.Join(lines, "\n  "), w.Name)
}

// load reads the settings and says on stderr which names in the environment mean nothing.
func (w *words[C]) load() (C, error) {
	c, report, err := config.Load(w.Name, w.file, os.Environ(), w.Defaults, w.Check) //nolint:forbidigo // the one place that reads it
	w.report = report
	for _, warning := range report.Warnings {
		_, _ = fmt.Fprintln(os.Stderr, "warning: "+warning)
	}
	return c, err
}

func (w *words[C]) serve(cmd *cobra.Command, _ []string) error {
	c, err := w.load()
	if err != nil {
		return err
	}
	boundMemory(memlimit.FromCgroup)
	return w.explain(w.Serve(cmd.Context(), c))
}

func (w *words[C]) migrate(cmd *cobra.Command, _ []string) error {
	c, err := w.load()
	if err != nil {
		return err
	}
	return w.Migrate(cmd.Context(), c)
}

// config prints the settings also when they cannot work: that is when one wants to see them.
func (w *words[C]) config(cmd *cobra.Command, _ []string) error {
	_, err := w.load()
	_, _ = fmt.Fprint(cmd.OutOrStdout(), w.report)
	return err
}

// explain says of a taken port which setting moves the door.
func (w *words[C]) explain(err error) error {
	port, taken := TakenPort(err)
	if !taken {
		return err
	}
	for _, s := range w.report.Settings {
		if strings.HasSuffix(s.Key, "port") && s.Value == strconv.Itoa(port) {
			return fmt.Errorf("port %d is taken by another process: stop it, or set %s to a free port", port, config.Name(w.Name, s.Key))
		}
	}
	return fmt.Errorf("port %d is taken by another process: %w", port, err)
}

func (w *words[C]) version(cmd *cobra.Command, _ []string) {
	_, _ = fmt.Fprintln(cmd.OutOrStdout(), w.Name, Version())
}

// stamped is set by the linker of `make build`.
var stamped string

// Version names the build: what the linker stamped, or else the commit that Go noted.
func Version() string {
	if stamped != "" {
		return stamped
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unversioned"
}
