package compose_test

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const provisioning = "deploy/grafana/provisioning/"

// sources is a file of those whom Grafana asks. Files of provisioning are read strictly: a field that is not here is taken for a
// mistake until it is.
type sources struct {
	APIVersion  int `yaml:"apiVersion"`
	Datasources []source
}

type source struct {
	Name, UID, Type, Access, URL string

	IsDefault bool `yaml:"isDefault"`
	JSONData  struct {
		TimeInterval string `yaml:"timeInterval"`
		Exemplars    []struct {
			Name string
			UID  string `yaml:"datasourceUid"`
		} `yaml:"exemplarTraceIdDestinations"`
	} `yaml:"jsonData"`
}

// providers is a file that says where dashboards lie.
type providers struct {
	APIVersion int `yaml:"apiVersion"`
	Providers  []struct {
		Name, Folder, Type string

		AllowUIUpdates bool `yaml:"allowUiUpdates"`
		Options        struct{ Path string }
	}
}

// strictly reads every file that a pattern names.
func strictly[T any](t *testing.T, pattern string) map[string]T {
	t.Helper()
	all := map[string]T{}
	for _, path := range found(t, pattern) {
		var content T
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := yaml.NewDecoder(file)
		lines.KnownFields(true)
		if err := lines.Decode(&content); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		_ = file.Close() // it was only read
		all[filepath.Base(path)] = content
	}
	return all
}

func found(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root(t), pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("nothing is at %s: %v", pattern, err)
	}
	return paths
}

// asked are the sources of all files by their uids: each once, in a container that is there.
func asked(t *testing.T) map[string]source {
	t.Helper()
	containers, byUID, preset := all(t), map[string]source{}, 0
	for file, content := range strictly[sources](t, provisioning+"datasources/*") {
		if content.APIVersion != 1 || len(content.Datasources) == 0 {
			t.Errorf("%s has version %d and %d sources", file, content.APIVersion, len(content.Datasources))
		}
		for _, s := range content.Datasources {
			if other, twice := byUID[s.UID]; twice || s.UID == "" || s.Name == "" || s.Type == "" {
				t.Errorf("%s has a source %q with the uid %q, which is that of %q", file, s.Name, s.UID, other.Name)
			}
			byUID[s.UID] = s
			at, err := url.Parse(s.URL)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			listens := false
			for _, p := range containers[at.Hostname()].Ports {
				listens = listens || strconv.Itoa(int(p.Target)) == at.Port()
			}
			if !listens || s.Access != "proxy" {
				t.Errorf("%s asks %s at %s, by %s: no container has that door", file, s.Name, s.URL, s.Access)
			}
			if s.IsDefault {
				preset++
			}
		}
	}
	for _, s := range byUID {
		for _, e := range s.JSONData.Exemplars {
			if byUID[e.UID].Type != "jaeger" {
				t.Errorf("exemplars of %s lead to %q, which holds no traces", s.Name, e.UID)
			}
		}
	}
	if preset != 1 {
		t.Errorf("%d sources are the default, want 1", preset)
	}
	return byUID
}

// TestGrafanaFindsWhatItIsGiven follows Grafana's way: from the folder that is mounted to the providers, from there to the dashboards,
// and from each of their parts to a source that is there.
func TestGrafanaFindsWhatItIsGiven(t *testing.T) {
	t.Parallel()
	mounted := map[string]string{}
	for _, v := range all(t)["grafana"].Volumes {
		mounted[v.Target] = v.Source
	}
	if at := mounted["/etc/grafana/provisioning"]; at != filepath.Join(root(t), provisioning) {
		t.Errorf("%q is mounted where Grafana looks for provisioning", at)
	}
	sources, seen := asked(t), 0
	for file, content := range strictly[providers](t, provisioning+"dashboards/*") {
		if content.APIVersion != 1 || len(content.Providers) == 0 {
			t.Errorf("%s has version %d and %d providers", file, content.APIVersion, len(content.Providers))
		}
		for _, p := range content.Providers {
			dir := mounted[p.Options.Path]
			if p.Type != "file" || dir == "" {
				t.Errorf("%s provides %q of the type %q, and nothing is mounted there", file, p.Options.Path, p.Type)
				continue
			}
			shown, err := filepath.Rel(root(t), dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range found(t, shown+"/*.json") {
				looks(t, path, sources)
				seen++
			}
		}
	}
	if every := len(found(t, "deploy/grafana/dashboards/*")); seen != every {
		t.Errorf("Grafana is shown %d dashboards of %d", seen, every)
	}
}

// looks sees that every part of a dashboard asks a source that is there and of the type it takes it for: by its uid, or by the
// variable in which the reader chooses one.
func looks(t *testing.T, path string, asked map[string]source) {
	t.Helper()
	type datasource struct{ Type, UID string }
	var (
		text  = read(t, strings.TrimPrefix(path, root(t)))
		whole any
		board struct {
			Templating struct {
				List []struct {
					Name, Type string
					Query      any
				}
			}
		}
	)
	for _, into := range []any{&whole, &board} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	known := map[datasource]bool{}
	for uid, s := range asked {
		known[datasource{s.Type, uid}] = true
	}
	for _, v := range board.Templating.List {
		for _, s := range asked {
			if v.Type == "datasource" && v.Query == s.Type {
				known[datasource{s.Type, "${" + v.Name + "}"}] = true
			}
		}
	}
	parts := 0
	var visit func(part any)
	visit = func(part any) {
		switch p := part.(type) {
		case map[string]any:
			if d, asks := p["datasource"].(map[string]any); asks {
				parts++
				ofType, _ := d["type"].(string)
				uid, _ := d["uid"].(string)
				if !known[datasource{ofType, uid}] {
					t.Errorf("%s asks %q of the type %q, which is not there", path, uid, ofType)
				}
			}
			for _, inner := range p {
				visit(inner)
			}
		case []any:
			for _, inner := range p {
				visit(inner)
			}
		}
	}
	visit(whole)
	if parts == 0 {
		t.Errorf("%s asks nobody", path)
	}
}
