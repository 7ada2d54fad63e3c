package telemetry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/test/suite"
)

// TestDashboardsAndRulesSeeARunningSuite lets a real Prometheus scrape a suite that does all it tells of, and asks it what every
// panel of every dashboard asks: no answer may be empty. Notes, which mark when alerts fired, may: Prometheus has only to understand
// them. Every rule is evaluated there too.
func TestDashboardsAndRulesSeeARunningSuite(t *testing.T) {
	t.Parallel()
	asked, notes := questions(t)
	s := suite.Start(t, suite.Config{})
	prom := startPrometheus(t, s)
	live(t, s)
	s.Sell("mug", 1_000_000)
	load := s.Load(2, "mug")
	suite.WaitFor(t, step, func() error {
		var open error
		for where, query := range asked {
			if err := prom.answers(query); err != nil {
				open = errors.Join(open, fmt.Errorf("%s: %s: %w", where, query, err))
				continue
			}
			delete(asked, where)
		}
		return open
	})
	suite.WaitFor(t, step, prom.rulesAreWell)
	for where, query := range notes {
		if _, err := prom.numbers(query); err != nil {
			t.Errorf("%s: %s: %v", where, query, err)
		}
	}
	load.Stop()
}

// step is how long Prometheus may take to have seen everything: the slowest meters are counted every fifteen seconds.
const step = 90 * time.Second

// dashboard is Grafana's, as far as it asks something.
type dashboard struct {
	UID, Title string
	Panels     []struct {
		ID                 int
		Title, Type        string
		Datasource         struct{ UID string }
		Targets            []target
		FieldConfig, Links json.RawMessage
	}
	Templating struct {
		List []struct{ Name, Definition string }
	}
	Annotations struct {
		List []struct {
			Name, Expr string
			Datasource struct{ UID string }
		}
	}
}

// target is one question of a panel. Exemplar says that the panel shows the traces that the answer's buckets carry.
type target struct {
	RefID, Expr string
	Exemplar    bool
}

var (
	values = regexp.MustCompile(`^label_values\((.+), *([a-z_]+)\)$`)
	// unset are the variables as they stand when somebody opens a dashboard.
	unset = strings.NewReplacer("$namespace", ".*", "$group", ".+", "$job", ".+", "$__rate_interval", "5m")
)

// questions are all queries of all dashboards, by where they stand: of panels and variables, and of notes. Panels are told apart by
// their ids, dashboards by their uids.
func questions(t *testing.T) (asked, notes map[string]string) {
	t.Helper()
	asked, notes = map[string]string{}, map[string]string{}
	uids := map[string]bool{}
	for file, d := range dashboards(t) {
		if uids[d.UID] || d.UID == "" || d.Title == "" {
			t.Errorf("%s has the uid %q and the title %q", file, d.UID, d.Title)
		}
		uids[d.UID] = true
		d.questions(t, file, asked)
		d.notes(t, file, notes)
	}
	return asked, notes
}

// dashboards are all of them by their files.
func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob("../../deploy/grafana/dashboards/*.json")
	if err != nil || len(files) < 5 {
		t.Fatalf("there are %d dashboards: %v", len(files), err)
	}
	all := map[string]dashboard{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[filepath.Base(file)] = d
	}
	return all
}

func (d dashboard) questions(t *testing.T, file string, asked map[string]string) {
	t.Helper()
	ids := map[int]bool{}
	for _, p := range d.Panels {
		where := fmt.Sprintf("%s: %s", file, p.Title)
		if ids[p.ID] || p.Type != "row" && (len(p.Targets) == 0 || p.Datasource.UID != "${datasource}") {
			t.Errorf("%s: its id is taken, it asks nothing, or not whom the reader chose", where)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			asked[where+" "+target.RefID] = unset.Replace(target.Expr)
		}
	}
	for _, v := range d.Templating.List {
		if of := values.FindStringSubmatch(v.Definition); of != nil {
			asked[file+": variable "+v.Name] = fmt.Sprintf("count by (%s) (%s)", of[2], unset.Replace(of[1]))
		}
	}
}

// notes are the queries that mark a moment on every panel. Each dashboard says when somebody was woken.
func (d dashboard) notes(t *testing.T, file string, into map[string]string) {
	t.Helper()
	if len(d.Annotations.List) == 0 {
		t.Errorf("%s does not say when alerts fired", file)
	}
	for _, a := range d.Annotations.List {
		where := file + ": note " + a.Name
		if a.Expr == "" || a.Datasource.UID != "${datasource}" {
			t.Errorf("%s asks nothing, or not whom the reader chose", where)
		}
		into[where] = unset.Replace(a.Expr)
	}
}

// prometheus is one that scrapes a suite every other second.
type prometheus struct{ base string }

func startPrometheus(t *testing.T, s *suite.Suite) prometheus {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatal("no prometheus: make test installs it, or apt-get install prometheus")
	}
	rules, err := filepath.Abs("../../deploy/prometheus/rules")
	if err != nil {
		t.Fatal(err)
	}
	var config strings.Builder
	fmt.Fprintf(&config, "global: {scrape_interval: 2s, evaluation_interval: 2s}\nrule_files: [%s/*.yaml]\nscrape_configs:\n", rules)
	for _, name := range suite.Services {
		fmt.Fprintf(&config, "- {job_name: %s, static_configs: [{targets: [%q]}]}\n", name, s.Part(name, 0).Ops)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprint("127.0.0.1:", servertest.FreePort(t))
	suite.NewProcess(t, "prometheus", path, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--log.level=warn").Start()
	p := prometheus{"http://" + addr}
	suite.WaitFor(t, step, func() error { return p.get("/-/ready", nil) })
	return p
}

func (p prometheus) get(path string, into any) error {
	answer, err := http.Get(p.base + path)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // it was read, or its error is told
	if into == nil {
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s = %d", path, answer.StatusCode)
		}
		return nil
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// answers says whether a query has an answer that is a number.
func (p prometheus) answers(query string) error {
	n, err := p.numbers(query)
	if err == nil && n == 0 {
		return errors.New("no number in its answer")
	}
	return err
}

// numbers counts them in the answer to a query, which Prometheus has to understand.
func (p prometheus) numbers(query string) (n int, err error) {
	var out struct {
		Error string
		Data  struct{ Result []struct{ Value []any } }
	}
	if err := p.get("/api/v1/query?query="+url.QueryEscape(query), &out); err != nil {
		return 0, err
	}
	if out.Error != "" {
		return 0, errors.New(out.Error)
	}
	for _, one := range out.Data.Result {
		if len(one.Value) == 2 && one.Value[1] != "NaN" {
			n++
		}
	}
	return n, nil
}

// rulesAreWell says that every rule was evaluated without an error.
func (p prometheus) rulesAreWell() error {
	var out struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	if err := p.get("/api/v1/rules", &out); err != nil {
		return err
	}
	ill, well := map[string]bool{}, 0
	for _, g := range out.Data.Groups {
		for _, r := range g.Rules {
			if r.Health != "ok" {
				ill[r.Name+": "+r.Health+" "+r.LastError] = true
			}
			well++
		}
	}
	if len(ill) > 0 || well < 15 {
		return fmt.Errorf("of %d rules these are not well: %v", well, slices.Sorted(maps.Keys(ill)))
	}
	return nil
}
