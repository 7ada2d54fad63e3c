package alerts_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const configuration = root + "deploy/alertmanager/alertmanager.yml"

var pinned = regexp.MustCompile(`(?m)^AMTOOL\s*:= \$\(tools\)/(\S+)$`)

// amtool runs Alertmanager's own tool, as tools.mk pins it, and answers what it says.
func amtool(t *testing.T, args ...string) string {
	t.Helper()
	makefile, err := os.ReadFile(root + "tools.mk")
	if err != nil {
		t.Fatal(err)
	}
	at := pinned.FindSubmatch(makefile)
	if at == nil {
		t.Fatal("tools.mk pins no amtool")
	}
	path, err := filepath.Abs(root + "bin/tools/" + string(at[1]))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no amtool: make test builds it: %v", err)
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	if err != nil {
		t.Errorf("amtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestAlertmanagerTakesItsConfiguration(t *testing.T) {
	t.Parallel()
	says := amtool(t, "check-config", configuration)
	for _, part := range []string{"5 inhibit rules", "2 receivers", "1 templates"} {
		if !strings.Contains(says, part) {
			t.Errorf("amtool finds no %s:\n%s", part, says)
		}
	}
}

// TestAlertsGoWhereTheyShould asks for every example of routes.yaml, and finds each alert that wakes somebody there.
func TestAlertsGoWhereTheyShould(t *testing.T) {
	t.Parallel()
	var examples []struct {
		To    []string
		Alert map[string]string
	}
	read(t, root+"deploy/alertmanager/routes.yaml", &examples)
	if len(examples) < 5 {
		t.Fatalf("there are %d examples", len(examples))
	}
	for _, e := range examples {
		args := []string{"config", "routes", "test", "--config.file=" + configuration, "--verify.receivers=" + strings.Join(e.To, ",")}
		for k, v := range e.Alert {
			args = append(args, k+"="+v)
		}
		amtool(t, args...)
	}
}

// TestWhatPeopleReadIsWhole renders the message of two alerts of one group, and the title of one that is of no group.
func TestWhatPeopleReadIsWhole(t *testing.T) {
	t.Parallel()
	one := func(topic string) map[string]any {
		return map[string]any{
			"status": "firing",
			"labels": map[string]string{"alertname": "ConsumerStuck", "consumergroup": "points", "topic": topic},
			"annotations": map[string]string{
				"summary": "points does not move on " + topic, "description": "It waits.", "runbook_url": "https://example.org/ConsumerStuck.md",
			},
		}
	}
	two := map[string]any{
		"status": "firing", "alerts": []any{one("a"), one("b")},
		"commonLabels": map[string]string{"alertname": "ConsumerStuck", "consumergroup": "points", "job": "points-metrics"},
	}
	says(t, two, "floodgate.title", "ConsumerStuck · points (2)")
	says(t, two, "floodgate.text", "points does not move on a", "points does not move on b", "It waits.", "https://example.org/ConsumerStuck.md")
	down := map[string]any{"status": "resolved", "alerts": []any{one("")}, "commonLabels": map[string]string{"alertname": "ServiceDown", "job": "order-api"}}
	says(t, down, "floodgate.title", "Over: ServiceDown · order-api")
}

// says renders a template with data and finds all of want in it.
func says(t *testing.T, data map[string]any, template string, want ...string) {
	t.Helper()
	text, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "data.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	got := amtool(t, "template", "render", "--template.glob="+root+"deploy/alertmanager/templates/*.tmpl",
		"--template.text={{ template \""+template+"\" . }}", "--template.data="+path)
	if slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(got, w) }) {
		t.Errorf("%s says %q, want %q", template, got, want)
	}
}
