package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

type door struct {
	Host string `mapstructure:"listen_host"`
	Port int    `mapstructure:"port"`
}

type settings struct {
	door    `mapstructure:",squash"`
	DSN     Secret        `mapstructure:"database_dsn"`
	Migrate bool          `mapstructure:"database_migrate"`
	Brokers []string      `mapstructure:"kafka_brokers"`
	Window  time.Duration `mapstructure:"payment_window"`
	Ratio   float64       `mapstructure:"trace_sample_ratio"`
	Shards  uint8         `mapstructure:"shards"`
	Clock   func() time.Time
}

func defaults() settings {
	return settings{
		door: door{"127.0.0.1", 8080}, DSN: "postgres://u:hidden@h/d", Migrate: true,
		Brokers: []string{"a:1"}, Window: 15 * time.Minute, Ratio: 0.5, Shards: 8, Clock: time.Now,
	}
}

func check(s settings) []string {
	if s.Port < 1024 {
		return []string{fmt.Sprintf("port is %d: choose one above 1023", s.Port)}
	}
	return nil
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func complaints(t *testing.T, err error) []string {
	t.Helper()
	var bad *Error
	if !errors.As(err, &bad) || bad.ExitCode() != 2 {
		t.Fatalf("err = %v, want an *Error that exits with 2", err)
	}
	return bad.Complaints
}

func origin(r Report, key string) Setting {
	return r.Settings[slices.IndexFunc(r.Settings, func(s Setting) bool { return s.Key == key })]
}

func TestTheLaterLayerWins(t *testing.T) {
	t.Parallel()
	path := file(t, "order-api.yaml", "port: 8090\nlisten_host: file\nkafka_brokers: [f:1, f:2]\ndatabase_migrate: off\npayment_window: 5m\n")
	c, report, err := Load("order-api", path, []string{
		"FLOODGATE_LISTEN_HOST=everyone", "ORDER_API_LISTEN_HOST=mine", "FLOODGATE_PAYMENT_WINDOW=7m", "ORDER_API_SHARDS=",
	}, defaults(), check)
	if err != nil {
		t.Fatal(err)
	}
	if c.Host != "mine" || c.Port != 8090 || c.Migrate || c.Window != 7*time.Minute || c.Shards != 8 || c.Clock == nil ||
		!slices.Equal(c.Brokers, []string{"f:1", "f:2"}) || c.DSN.Reveal() != "postgres://u:hidden@h/d" {
		t.Errorf("settings = %+v", c)
	}
	for key, want := range map[string]Setting{
		"listen_host":        {"listen_host", "mine", "ORDER_API_LISTEN_HOST"},
		"payment_window":     {"payment_window", "7m0s", "FLOODGATE_PAYMENT_WINDOW"},
		"port":               {"port", "8090", path},
		"kafka_brokers":      {"kafka_brokers", "f:1,f:2", path},
		"database_migrate":   {"database_migrate", "off", path},
		"database_dsn":       {"database_dsn", stars, "default"},
		"trace_sample_ratio": {"trace_sample_ratio", "0.5", "default"},
	} {
		if got := origin(report, key); got != want {
			t.Errorf("%s = %+v, want %+v", key, got, want)
		}
	}
	if strings.Contains(report.String(), "hidden") || len(report.Warnings) != 0 {
		t.Errorf("report:\n%s\nwarnings %q", report, report.Warnings)
	}
}

func TestEverythingWrongIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	path := file(t, "points.yaml", "prot: 9000\npayment_window: 5\nshards: 300\ndatabase_dsn: [hidden]\n")
	_, report, err := Load("points", path, []string{"POINTS_PORT=80", "POINTS_DATABASE_MIGRATE=perhaps", "POINTS_TRACE_SAMPLE_RATIO=NaN"}, defaults(), check)
	got := complaints(t, err)
	want := []string{
		"prot is not a setting of points (in " + path + "); the nearest is port",
		"database_dsn must be text (" + path + ")",
		`database_migrate must be on or off, not "perhaps" (POINTS_DATABASE_MIGRATE)`,
		`payment_window must be a duration such as 250ms, 30s or 15m, not "5" (` + path + ")",
		`trace_sample_ratio must be a number, not "NaN" (POINTS_TRACE_SAMPLE_RATIO)`,
		`shards must be a whole number that is not negative, not "300" (` + path + ")",
		"port is 80: choose one above 1023",
	}
	if !slices.Equal(got, want) {
		t.Errorf("complaints:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(report.Settings) != 8 {
		t.Errorf("the report has %d settings, want 8 even when they are wrong", len(report.Settings))
	}
	if strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), "POINTS_<KEY>") {
		t.Errorf("error = %v", err)
	}
}

func TestFileThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ path, want string }{
		"missing":   {filepath.Join(t.TempDir(), "no.yaml"), "there is no such file"},
		"malformed": {file(t, "x.yaml", "port: 1\n  bad: [hidden\n"), "it is not well-formed line"},
		"unknown":   {file(t, "x.cfg", "port 1"), "its name must end in .yaml, .toml or .json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := Load("points", c.path, nil, defaults(), check)
			if got := complaints(t, err); len(got) != 1 || !strings.Contains(got[0], c.want) || strings.Contains(got[0], "hidden") {
				t.Errorf("complaints = %q, want one with %q", got, c.want)
			}
		})
	}
}

func TestJSONNumbersAreWhole(t *testing.T) {
	t.Parallel()
	c, _, err := Load("points", file(t, "x.json", `{"port": 9000, "trace_sample_ratio": 1}`), nil, defaults(), nil)
	if err != nil || c.Port != 9000 || c.Ratio != 1 {
		t.Errorf("port %d, ratio %v, err %v", c.Port, c.Ratio, err)
	}
	_, _, err = Load("points", file(t, "y.json", `{"port": 9000.5}`), nil, defaults(), nil)
	if got := complaints(t, err); len(got) != 1 {
		t.Errorf("complaints = %q, want one", got)
	}
}

func TestSecretFromAFile(t *testing.T) {
	t.Parallel()
	path := file(t, "dsn", "postgres://secret\n")
	t.Run("IsTakenWithoutItsNewline", func(t *testing.T) {
		t.Parallel()
		c, report, err := Load("points", "", []string{"POINTS_DATABASE_DSN_FILE=" + path, "FLOODGATE_DATABASE_DSN=shared"}, defaults(), nil)
		if err != nil || c.DSN.Reveal() != "postgres://secret" {
			t.Errorf("dsn %q, err %v", c.DSN.Reveal(), err)
		}
		if got := origin(report, "database_dsn"); got.Origin != "POINTS_DATABASE_DSN_FILE" || got.Value != stars {
			t.Errorf("setting = %+v", got)
		}
	})
	t.Run("MustBeThere", func(t *testing.T) {
		t.Parallel()
		_, _, err := Load("points", "", []string{"POINTS_DATABASE_DSN_FILE=/no/such"}, defaults(), nil)
		if got := complaints(t, err); len(got) != 1 || !strings.Contains(got[0], "POINTS_DATABASE_DSN_FILE names /no/such") {
			t.Errorf("complaints = %q", got)
		}
	})
	t.Run("IsNotGivenTwice", func(t *testing.T) {
		t.Parallel()
		_, _, err := Load("points", "", []string{"POINTS_DATABASE_DSN_FILE=" + path, "POINTS_DATABASE_DSN=x"}, defaults(), nil)
		if got := complaints(t, err); len(got) != 1 || !strings.Contains(got[0], "both set") {
			t.Errorf("complaints = %q", got)
		}
	})
}

func TestUnknownNamesInTheEnvironmentAreWarnings(t *testing.T) {
	t.Parallel()
	c, report, err := Load("points", "", []string{
		"POINTS_PRT=1", "FLOODGATE_KAFKA_BROKER=x", "POINTS_PORT=tcp://10.0.0.1:9102", "POINTSMAN=1", "PATH=/bin", "ORDER_API_PORT=1",
	}, defaults(), check)
	if err != nil || c.Port != 8080 {
		t.Errorf("port %d, err %v", c.Port, err)
	}
	want := []string{
		"POINTS_PORT looks like a Kubernetes service link and is not taken for a port",
		"FLOODGATE_KAFKA_BROKER is not a setting of points; the nearest is FLOODGATE_KAFKA_BROKERS",
		"POINTS_PRT is not a setting of points; the nearest is POINTS_PORT",
	}
	if !slices.Equal(report.Warnings, want) {
		t.Errorf("warnings:\n%s", strings.Join(report.Warnings, "\n"))
	}
}

func ExampleLoad() {
	type settings struct {
		Port int    `mapstructure:"port"`
		Key  Secret `mapstructure:"auth_key"`
	}
	_, report, err := Load("points", "", []string{"POINTS_PORT=9200", "FLOODGATE_AUTH_KEY=hush"}, settings{Port: 9102}, nil)
	fmt.Print(report)
	fmt.Println(err)
	// Output:
	// KEY       VALUE     FROM
	// port      9200      POINTS_PORT
	// auth_key  ********  FLOODGATE_AUTH_KEY
	// <nil>
}
