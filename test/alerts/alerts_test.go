// Package alerts_test holds what wakes people: the rules of Prometheus with their tests and runbooks, and Alertmanager's routes.
package alerts_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const root = "../../"

// ruleFile is a file of rules as Prometheus reads it, as far as it is looked at here.
type ruleFile struct {
	Groups []struct{ Rules []rule }
}

type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

// testFile is a file of promtool's tests.
type testFile struct {
	RuleFiles []string `yaml:"rule_files"`
	Tests     []struct {
		Name  string
		Cases []struct {
			Alertname string
			Alerts    []struct {
				Labels map[string]string `yaml:"exp_labels"`
			} `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// alerts are the rules of every file by the file's name without its ending.
func alerts(t *testing.T) map[string][]rule {
	t.Helper()
	all := map[string][]rule{}
	for _, path := range found(t, root+"deploy/prometheus/rules/*.yaml") {
		var f ruleFile
		read(t, path, &f)
		for _, g := range f.Groups {
			all[name(path)] = append(all[name(path)], g.Rules...)
		}
	}
	if len(all) < 14 {
		t.Fatalf("there are rules for %v only", slices.Sorted(maps.Keys(all)))
	}
	return all
}

func found(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("nothing is at %s: %v", pattern, err)
	}
	return paths
}

func name(path string) string {
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// promtool runs Prometheus' own tool, which make test installs.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("no promtool: make test installs it, or apt-get install prometheus")
	}
	if out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestRulesFireAndKeepQuiet lets Prometheus read its configuration and every rule, and runs every test of a rule.
func TestRulesFireAndKeepQuiet(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "config", root+"deploy/prometheus/prometheus.yml")
	promtool(t, append([]string{"check", "rules", "--lint-fatal"}, found(t, root+"deploy/prometheus/rules/*.yaml")...)...)
	promtool(t, append([]string{"test", "rules"}, found(t, root+"deploy/prometheus/tests/*.yaml")...)...)
}

// TestEveryAlertIsTried finds a test in which it fires for every rule of every alert, be it the slowest burn of a budget, and one in
// which no rule of the alert ever does. And each says how loud it is.
func TestEveryAlertIsTried(t *testing.T) {
	t.Parallel()
	all := alerts(t)
	for file, rules := range all {
		fired, quiet := tried(t, file)
		seen := map[string]bool{}
		for _, r := range rules {
			if r.Alert == "" {
				continue
			}
			if seen[r.words()] {
				t.Errorf("two rules of %s have the labels %s: nobody could tell which of them fires", file, r.words())
			}
			seen[r.words()] = true
			if !slices.ContainsFunc(fired, r.gives) {
				t.Errorf("tests/%s.yaml has no test in which the rule with %s fires", file, r.words())
			}
			if r.Alert != file {
				t.Errorf("rules/%s.yaml has the alert %s: one file for each", file, r.Alert)
			}
			if s := r.Labels["severity"]; s != "page" && s != "chat" {
				t.Errorf("%s has the severity %q: it wakes somebody (page) or is told (chat)", file, s)
			}
			if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || !strings.HasSuffix(r.Annotations["runbook_url"], "/docs/runbooks/"+file+".md") {
				t.Errorf("%s does not say what happened, or which page helps: %v", file, r.Annotations)
			}
		}
		if len(seen) == 0 {
			t.Errorf("rules/%s.yaml has no alert", file)
		}
		if !quiet {
			t.Errorf("tests/%s.yaml has no test in which nothing fires", file)
		}
	}
	for _, path := range found(t, root+"deploy/prometheus/tests/*.yaml") {
		if all[name(path)] == nil {
			t.Errorf("%s tries an alert that is not there", path)
		}
	}
}

// words are the labels that a rule gives its alerts, by which rules of one alert are told apart.
func (r rule) words() string { return fmt.Sprint(r.Labels) }

// gives says whether an alert with these labels is this rule's.
func (r rule) gives(labels map[string]string) bool {
	for name, value := range r.Labels {
		if labels[name] != value {
			return false
		}
	}
	return true
}

// tried are the labels of all alerts that fire in tests of the alert, and whether there is a test in which none ever does.
func tried(t *testing.T, alert string) (fired []map[string]string, quiet bool) {
	t.Helper()
	var f testFile
	read(t, root+"deploy/prometheus/tests/"+alert+".yaml", &f)
	if want := []string{"../rules/" + alert + ".yaml"}; !slices.Equal(f.RuleFiles, want) {
		t.Errorf("tests/%s.yaml reads %v", alert, f.RuleFiles)
	}
	for _, one := range f.Tests {
		never := len(one.Cases) > 0
		for _, c := range one.Cases {
			if c.Alertname != alert {
				t.Errorf("tests/%s.yaml asks about %s", alert, c.Alertname)
			}
			for _, a := range c.Alerts {
				fired = append(fired, a.Labels)
			}
			never = never && len(c.Alerts) == 0
		}
		quiet = quiet || never
	}
	return fired, quiet
}

var (
	ratio  = regexp.MustCompile(`ratio_rate(\w+)`)
	window = regexp.MustCompile(`\[(\w+)\]`)
	factor = regexp.MustCompile(`> ([0-9.]+) \*`)
)

// TestABurnIsWhatItsLabelsSay compares the windows over which ratios are recorded with their names, and what burn alerts are called with
// what they look at: the long window first.
func TestABurnIsWhatItsLabelsSay(t *testing.T) {
	t.Parallel()
	burns := 0
	for file, rules := range alerts(t) {
		for _, r := range rules {
			if named := ratio.FindStringSubmatch(r.Record); named != nil {
				for _, w := range window.FindAllStringSubmatch(r.Expr, -1) {
					if w[1] != named[1] {
						t.Errorf("%s is taken over %s", r.Record, w[1])
					}
				}
			}
			if r.Labels["burn"] == "" {
				continue
			}
			burns++
			windows, factors := ratio.FindAllStringSubmatch(r.Expr, -1), factor.FindAllStringSubmatch(r.Expr, -1)
			if len(windows) != 2 || len(factors) != 2 || windows[0][1] != r.Labels["window"] || factors[0][1] != r.Labels["burn"] || factors[1][1] != r.Labels["burn"] {
				t.Errorf("the rule of %s with %s looks at %s", file, r.words(), r.Expr)
			}
		}
	}
	if burns != 8 {
		t.Errorf("%d rules tell of a burn, want four of each objective", burns)
	}
}

// TestEveryAlertHasARunbook finds a page for each alert with all that a page must have, in the list of runbooks, and no page
// for an alert that is not there.
func TestEveryAlertHasARunbook(t *testing.T) {
	t.Parallel()
	all := alerts(t)
	index, err := os.ReadFile(root + "docs/runbooks/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for alert := range all {
		page, err := os.ReadFile(root + "docs/runbooks/" + alert + ".md")
		if err != nil {
			t.Errorf("%s has no runbook: %v", alert, err)
			continue
		}
		for _, part := range []string{"# " + alert + "\n", "**What it means.** ", "**First look.**", "**Fix.** ", "**Try it.** "} {
			if !strings.Contains(string(page), part) {
				t.Errorf("docs/runbooks/%s.md has no %q", alert, strings.TrimSpace(part))
			}
		}
		if !strings.Contains(string(index), "| ["+alert+"]("+alert+".md) |") {
			t.Errorf("docs/runbooks/README.md does not list %s", alert)
		}
	}
	for _, path := range found(t, root+"docs/runbooks/*.md") {
		page := name(path)
		if page != "README" && !strings.HasPrefix(page, "dead-letter-") && all[page] == nil {
			t.Errorf("%s is about an alert that is not there", path)
		}
	}
}

var (
	listed  = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (counter|gauge|histogram) \\|")
	strip   = regexp.MustCompile(`"[^"]*"|\b[0-9][0-9a-z.]*\b|\{[^}]*\}|\[[^\]]*\]|\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`)
	words   = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*\b(\s*\()?`)
	keyword = []string{"and", "or", "unless", "offset", "bool", "group_left", "group_right"}
)

// others are metrics that are not Floodgate's: Prometheus' own, cert-manager's and the blackbox exporter's.
var others = []string{"up", "certmanager_certificate_expiration_timestamp_seconds", "probe_ssl_earliest_cert_expiry"}

// metrics are the names of metrics in an expression: words that are neither a function nor the language's own.
func metrics(expr string) []string {
	var names []string
	for _, w := range words.FindAllString(strip.ReplaceAllString(expr, " "), -1) {
		if !strings.HasSuffix(w, "(") && !slices.Contains(keyword, w) {
			names = append(names, w)
		}
	}
	return names
}

// TestAlertsLookAtWhatIsMeasured finds every metric of every rule in docs/telemetry.md, which another test holds against a
// running suite.
func TestAlertsLookAtWhatIsMeasured(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(root + "docs/telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, theirs := range others {
		known[theirs] = true
	}
	for _, row := range listed.FindAllStringSubmatch(string(page), -1) {
		known[row[1]] = true
		if row[2] == "histogram" {
			known[row[1]+"_bucket"], known[row[1]+"_sum"], known[row[1]+"_count"] = true, true, true
		}
	}
	if len(known) < 30 {
		t.Fatalf("docs/telemetry.md lists %d metrics: it cannot be read", len(known))
	}
	all := alerts(t)
	for _, rules := range all {
		for _, r := range rules {
			known[r.Record] = true
		}
	}
	for file, rules := range all {
		for _, r := range rules {
			looks := metrics(r.Expr)
			if len(looks) == 0 {
				t.Errorf("%s looks at nothing: %s", file, r.Expr)
			}
			for _, m := range looks {
				if !known[m] {
					t.Errorf("%s looks at %s, which docs/telemetry.md does not list", file, m)
				}
			}
		}
	}
}

func TestMetricsOfAnExpression(t *testing.T) {
	t.Parallel()
	got := fmt.Sprint(metrics(`sum by (job) (rate(a_total{x="y and z",w!="b"}[5m])) / on (job) group_left max without (p) (b:c) > 0.5 unless absent(d offset 1m)`))
	if got != "[a_total b:c d]" {
		t.Errorf("metrics = %s", got)
	}
}
