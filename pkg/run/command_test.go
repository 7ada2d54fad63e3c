package run

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/database"
)

type settings struct {
	Config `mapstructure:",squash"`
	Key    config.Secret `mapstructure:"auth_key"`
}

// service has settings that cannot come from the environment of whoever runs the test.
func service(serve func(context.Context, settings) error) Service[settings] {
	return Service[settings]{
		Name: "try-run", Short: "Tries the command line", Defaults: settings{Config: Defaults(9102, 9182), Key: "hush"},
		Check:    func(s settings) []string { return s.Check() },
		Serve:    serve,
		Migrate:  func(context.Context, settings) error { return errors.New("migrated") },
		Database: func(settings) database.Config { return database.Defaults() },
		Doors:    func(s settings) Config { return s.Config },
	}
}

func call(t *testing.T, s Service[settings], args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := Command(s)
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs(args)
	code = execute(t.Context(), cmd, &errs)
	return code, out.String(), errs.String()
}

func TestWords(t *testing.T) {
	t.Parallel()
	s := service(func(_ context.Context, c settings) error {
		if c.Port != 9102 {
			return errors.New("wrong port")
		}
		return nil
	})
	bad := s
	bad.Defaults.Port = 0
	for name, c := range map[string]struct {
		service Service[settings]
		args    []string
		code    int
		says    string
	}{
		"NoWordServes":      {s, nil, 0, ""},
		"Serve":             {s, []string{"serve"}, 0, ""},
		"Migrate":           {s, []string{"migrate"}, 1, "migrated"},
		"BadSettings":       {bad, nil, 2, "port is 0: a port is between 1 and 65535"},
		"BadConfigIsShown":  {bad, []string{"config"}, 2, "listen_host  127.0.0.1  default"},
		"ConfigHidesKey":    {s, []string{"config"}, 0, "auth_key     ********   default"},
		"NoSuchFile":        {s, []string{"--config", "/no/such.yaml"}, 2, "there is no such file"},
		"Version":           {s, []string{"version"}, 0, "try-run "},
		"Help":              {s, []string{"help"}, 0, "Examples:"},
		"UnknownWord":       {s, []string{"sevre"}, 1, `unknown command "sevre"`},
		"NothingToComplete": {s, []string{"offsets", "show"}, 1, "unknown command"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := call(t, c.service, c.args...)
			if code != c.code || !strings.Contains(stdout+stderr, c.says) {
				t.Errorf("exit %d, want %d with %q\n%s%s", code, c.code, c.says, stdout, stderr)
			}
			if strings.Contains(stdout+stderr, "hush") || strings.Contains(stdout, "completion") {
				t.Errorf("said too much:\n%s%s", stdout, stderr)
			}
		})
	}
}

func TestTakenPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	taken := l.Addr().(*net.TCPAddr).Port
	s := service(func(_ context.Context, c settings) error {
		_, err := net.Listen("tcp", c.OpsAddr())
		return errors.Join(errors.New("something else too"), err)
	})
	s.Defaults.OpsPort = taken
	code, _, stderr := call(t, s)
	want := "port " + strconv.Itoa(taken) + " is taken by another process: stop it, or set TRY_RUN_OPS_PORT to a free port\n"
	if code != 1 || stderr != want {
		t.Errorf("exit %d, says %q, want %q", code, stderr, want)
	}
}

func TestStoppedAsAskedIsNoFailure(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := &cobra.Command{RunE: func(cmd *cobra.Command, _ []string) error {
		cancel()
		return cmd.Context().Err()
	}}
	cmd.SetArgs(nil)
	var said bytes.Buffer
	if code := execute(ctx, cmd, &said); code != 0 || said.Len() != 0 {
		t.Errorf("exit %d, said %q", code, said.String())
	}
}

func TestDoorsAreChecked(t *testing.T) {
	t.Parallel()
	if bad := (Config{Port: 70000, OpsPort: 70000}).Check(); len(bad) != 4 {
		t.Errorf("complaints = %q, want 4", bad)
	}
	if bad := (Config{ListenHost: "h", Port: 1, OpsPort: 2, DrainDelay: -1}).Check(); len(bad) != 1 {
		t.Errorf("complaints = %q, want 1", bad)
	}
	if bad := Defaults(8080, 9180).Check(); bad != nil {
		t.Errorf("complaints = %q", bad)
	}
	if c := Defaults(8080, 9180); c.Addr() != "127.0.0.1:8080" || c.OpsAddr() != "127.0.0.1:9180" {
		t.Errorf("doors %s and %s", c.Addr(), c.OpsAddr())
	}
}
