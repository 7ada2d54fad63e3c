package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// anySettings draws settings that can be written in the environment: a list has no commas, text no spaces around it,
// and nothing is empty, for that means "not set".
func anySettings(t *rapid.T) settings {
	word := rapid.StringMatching(`[a-z0-9:/._@-]{1,12}`)
	return settings{
		door:    door{word.Draw(t, "host"), rapid.Int().Draw(t, "port")},
		DSN:     Secret(word.Draw(t, "dsn")),
		Migrate: rapid.Bool().Draw(t, "migrate"),
		Brokers: rapid.SliceOfN(word, 1, 4).Draw(t, "brokers"),
		Window:  time.Duration(rapid.Int64().Draw(t, "window")),
		Ratio:   rapid.Float64Range(-1e6, 1e6).Draw(t, "ratio"),
		Shards:  rapid.Uint8().Draw(t, "shards"),
	}
}

// written is every setting as one would write it in the environment.
func written(s settings) map[string]string {
	all := map[string]string{}
	for _, f := range fields(reflect.ValueOf(&s).Elem()) {
		all[f.key] = f.show()
	}
	all["database_dsn"] = s.DSN.Reveal()
	return all
}

func TestWhatTheReportShowsCanBeWrittenBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := anySettings(t)
		var environ []string
		for key, value := range written(want) {
			environ = append(environ, Name("points", key)+"="+value)
		}
		got, _, err := Load("points", "", environ, settings{}, nil)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, want %+v, err %v", got, want, err)
		}
	})
}

func TestEverySettingComesFromItsHighestLayer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		layers := []settings{anySettings(t), anySettings(t), anySettings(t), anySettings(t)} // default, file, shared, own
		want, from := written(layers[0]), map[string]string{}
		path := filepath.Join(dir, "settings.yaml")
		var text strings.Builder
		var environ []string
		for i, layer := range layers[1:] {
			for key, value := range written(layer) {
				if !rapid.Bool().Draw(t, "set") {
					continue
				}
				want[key] = value
				switch i {
				case 0:
					text.WriteString(key + ": '" + value + "'\n")
					from[key] = path
				case 1:
					environ = append(environ, shared+strings.ToUpper(key)+"="+value)
					from[key] = shared + strings.ToUpper(key)
				case 2:
					environ = append(environ, Name("points", key)+"="+value)
					from[key] = Name("points", key)
				}
			}
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		got, report, err := Load("points", path, environ, layers[0], nil)
		if err != nil || !reflect.DeepEqual(written(got), want) {
			t.Fatalf("got %v, want %v, err %v", written(got), want, err)
		}
		for _, s := range report.Settings {
			if f := from[s.Key]; f != s.Origin && (f != "" || s.Origin != "default") {
				t.Fatalf("%s comes from %s, want %q", s.Key, s.Origin, f)
			}
		}
	})
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{"port: 1", "port: [1]", "a:\n  b: c", "port: ~", "<<: *x", "\x00", "port: 99999999999999999999", "listen_host: !!binary aGk="} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "x.yaml")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, report, err := Load("points", path, nil, defaults(), check)
		if err == nil && len(report.Settings) != 8 {
			t.Errorf("%d settings", len(report.Settings))
		}
	})
}

func FuzzEnvironment(f *testing.F) {
	f.Add("PORT", "1")
	f.Add("DATABASE_DSN_FILE", "/dev/null")
	f.Add("PAYMENT_WINDOW", "1e9h")
	f.Add("KAFKA_BROKERS", ",,")
	f.Fuzz(func(t *testing.T, key, value string) {
		if strings.HasSuffix(key, "_FILE") {
			value = "/dev/null"
		}
		_, report, err := Load("points", "", []string{"POINTS_" + key + "=" + value}, defaults(), nil)
		if err != nil {
			complaints(t, err)
		}
		if got := origin(report, "database_dsn").Value; got != stars && got != "" {
			t.Errorf("the report shows a secret: %s", got)
		}
	})
}
