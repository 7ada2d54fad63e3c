package chart

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	dlqreplayer "github.com/floodgate-dev/floodgate/services/dlq-replayer"
	"github.com/floodgate-dev/floodgate/services/inventory"
	"github.com/floodgate-dev/floodgate/services/logistics"
	orderapi "github.com/floodgate-dev/floodgate/services/order-api"
	"github.com/floodgate-dev/floodgate/services/points"
)

// service is what a service says of itself.
type service struct {
	command func() *cobra.Command
	load    func(environ []string) (config.Report, error)
}

func loading[C any](name string, defaults C, check func(C) []string) func([]string) (config.Report, error) {
	return func(environ []string) (config.Report, error) {
		_, report, err := config.Load(name, "", environ, defaults, check)
		return report, err
	}
}

var services = map[string]service{
	"order-api":    {orderapi.Command, loading("order-api", orderapi.Defaults(), orderapi.Config.Check)},
	"inventory":    {inventory.Command, loading("inventory", inventory.Defaults(), inventory.Config.Check)},
	"points":       {points.Command, loading("points", points.Defaults(), points.Config.Check)},
	"logistics":    {logistics.Command, loading("logistics", logistics.Defaults(), logistics.Config.Check)},
	"dlq-replayer": {dlqreplayer.Command, loading("dlq-replayer", dlqreplayer.Defaults(), dlqreplayer.Config.Check)},
}

// serviceOf is the service whose image the pod runs.
func (p pod) serviceOf(t *testing.T) (name string, s service) {
	t.Helper()
	image := text(p.container(t), "image")
	_, name, _ = strings.Cut(image[strings.LastIndex(image, "/"):], "/floodgate-")
	name, _, _ = strings.Cut(strings.ReplaceAll(name, "@", ":"), ":")
	s, known := services[name]
	if !known {
		t.Fatalf("%s runs %s: which service is that?", p.of, image)
	}
	return name, s
}

// TestEverySettingIsOneOfTheService gives each service the environment and the files of its pods: it knows every name, and
// finds nothing wrong.
func TestEverySettingIsOneOfTheService(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, all []object) {
		for _, p := range pods(t, all) {
			name, s := p.serviceOf(t)
			report, err := s.load(p.environ(t))
			if err != nil {
				t.Errorf("%s: %v", p.of, err)
			}
			for _, warning := range report.Warnings {
				t.Errorf("%s: %s", p.of, warning)
			}
			effective := map[string]string{}
			for _, setting := range report.Settings {
				effective[setting.Key] = setting.Value
			}
			p.wired(t, name, effective)
			p.tells(t, report)
			p.drains(t, effective)
		}
	})
}

// tells sees that each standard name of OpenTelemetry in the pod's environment is one that the service took a setting from: of a name
// that is not Floodgate's own nobody warns.
func (p pod) tells(t *testing.T, report config.Report) {
	t.Helper()
	for _, variable := range list(p.container(t), "env") {
		name := text(variable, "name")
		if strings.HasPrefix(name, "OTEL_") && !slices.ContainsFunc(report.Settings, func(s config.Setting) bool { return s.Origin == name }) {
			t.Errorf("%s sets %s, from which no setting is taken", p.of, name)
		}
	}
}

// TestTracesGoWhereTheValuesSay follows telemetry.otlpEndpoint and otlpProtocol to what each service makes of them.
func TestTracesGoWhereTheValuesSay(t *testing.T) {
	t.Parallel()
	const values = "ci/everything.yaml"
	file, err := os.ReadFile(filepath.Join(chartDir, values))
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		Telemetry struct {
			OTLPEndpoint string `yaml:"otlpEndpoint"`
			OTLPProtocol string `yaml:"otlpProtocol"`
		}
	}
	if err := yaml.Unmarshal(file, &said); err != nil || said.Telemetry.OTLPEndpoint == "" {
		t.Fatalf("%s says of telemetry %v, %v", values, said, err)
	}
	for _, p := range pods(t, render(t, "helm4", values)) {
		_, s := p.serviceOf(t)
		report, err := s.load(p.environ(t))
		if err != nil {
			t.Fatalf("%s: %v", p.of, err)
		}
		for key, want := range map[string]string{"otlp_endpoint": said.Telemetry.OTLPEndpoint, "otlp_protocol": said.Telemetry.OTLPProtocol} {
			if !slices.ContainsFunc(report.Settings, func(s config.Setting) bool { return s.Key == key && s.Value == want }) {
				t.Errorf("%s: %s is not %s: %v", p.of, key, want, report.Settings)
			}
		}
	}
}

// wired compares a pod's settings with its doors and with what must be so in every pod.
func (p pod) wired(t *testing.T, service string, effective map[string]string) {
	t.Helper()
	want := map[string]string{"listen_host": "0.0.0.0", "database_migrate": "off", "database_password": "********"}
	if service == "order-api" {
		want["inventory_addr"], want["points_addr"], want["logistics_addr"] = ":9101", ":9102", ":9103"
	}
	for _, port := range list(p.container(t), "ports") {
		key := "port"
		if text(port, "name") == "ops" {
			key = "ops_port"
		}
		want[key] = fmt.Sprint(at(port, "containerPort"))
	}
	for key, value := range want {
		if !strings.HasSuffix(effective[key], value) {
			t.Errorf("%s: %s is %q, want %q", p.of, key, effective[key], value)
		}
	}
}

// drains sees that the kubelet waits for a service that drains: for what passes before it is told to stop, for as long as it
// says that it is not ready, and for as long as its parts may take to stop.
func (p pod) drains(t *testing.T, effective map[string]string) {
	t.Helper()
	if text(p.container(t), "readinessProbe", "httpGet", "path") == "" {
		return // a Job serves nobody
	}
	delay, err := time.ParseDuration(effective["drain_delay"])
	if err != nil || delay < time.Second {
		t.Errorf("%s: drain_delay is %q: whoever still sends it work could not notice in time", p.of, effective["drain_delay"])
	}
	seconds := func(what any, path ...string) time.Duration {
		n, _ := at(what, path...).(int)
		return time.Duration(n) * time.Second
	}
	needs := seconds(p.container(t), "lifecycle", "preStop", "sleep", "seconds") + delay + run.NewGroup(t.Context()).Grace
	if has := seconds(p.spec, "terminationGracePeriodSeconds"); has <= needs {
		t.Errorf("%s: is killed after %s; it may need %s to drain", p.of, has, needs)
	}
}

// environ is the environment that the kubelet would give the pod's process, its files laid out in a folder of the test's own.
func (p pod) environ(t *testing.T) (environ []string) {
	t.Helper()
	dir := t.TempDir()
	cert, key := servertest.Certificate(t)
	pems := map[string]string{"ca.crt": cert, "tls.crt": cert, "tls.key": key}
	for _, file := range p.files(t) {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content(t, pems[filepath.Base(file)]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, variable := range list(p.container(t), "env") {
		value := strings.ReplaceAll(text(variable, "value"), "/etc/floodgate", dir)
		if at(variable, "valueFrom") != nil {
			value = "floodgate"
		}
		environ = append(environ, text(variable, "name")+"="+value)
	}
	if slices.ContainsFunc(environ, func(v string) bool {
		key, value, _ := strings.Cut(v, "=")
		return value != "" && (strings.HasSuffix(key, "_PASSWORD") || strings.HasSuffix(key, "_AUTH_KEY"))
	}) {
		t.Errorf("%s: a secret stands in the environment", p.of)
	}
	return environ
}

// files are the paths below /etc/floodgate.
func (p pod) files(t *testing.T) (paths []string) {
	t.Helper()
	mounts := list(p.container(t), "volumeMounts")
	if len(mounts) != 1 || text(mounts[0], "mountPath") != "/etc/floodgate" {
		t.Fatalf("%s mounts %v", p.of, mounts)
	}
	for _, v := range list(p.spec, "volumes") {
		for _, source := range list(v, "projected", "sources") {
			for _, kind := range []string{"secret", "configMap"} {
				for _, item := range list(source, kind, "items") {
					paths = append(paths, text(item, "path"))
				}
			}
		}
	}
	if twice := slices.Compact(slices.Sorted(slices.Values(paths))); len(twice) != len(paths) {
		t.Errorf("%s: two secrets have one path: %q", p.of, paths)
	}
	return paths
}

// content is what a file holds: that of another, or else a secret that is long enough for every use.
func content(t *testing.T, like string) []byte {
	t.Helper()
	if like == "" {
		return []byte("a secret of more than thirty-two bytes\n")
	}
	pem, err := os.ReadFile(like)
	if err != nil {
		t.Fatal(err)
	}
	return pem
}

// TestEveryPodRunsAWordThatIsThere parses each pod's arguments as its service would.
func TestEveryPodRunsAWordThatIsThere(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, all []object) {
		for _, p := range pods(t, all) {
			_, s := p.serviceOf(t)
			var args []string
			for _, a := range list(p.container(t), "args") {
				args = append(args, fmt.Sprint(a))
			}
			word, rest, err := s.command().Find(args)
			if err == nil && !word.HasParent() {
				err = fmt.Errorf("there is no such word")
			}
			if err == nil {
				err = word.ParseFlags(rest)
			}
			if err != nil {
				t.Errorf("%s runs %q: %v", p.of, args, err)
			}
		}
	})
}

// TestServicesLeadToDoors follows each Service to the ports of the pods that it selects, and each probe to a port.
func TestServicesLeadToDoors(t *testing.T) {
	t.Parallel()
	all := render(t, "helm4", "ci/minimal.yaml")
	running := pods(t, all)
	ports := func(p pod) map[string]string {
		out := map[string]string{}
		for _, port := range list(p.container(t), "ports") {
			out[text(port, "name")] = fmt.Sprint(at(port, "containerPort"))
		}
		return out
	}
	seen := 0
	for _, o := range all {
		if text(o, "kind") != "Service" {
			continue
		}
		seen++
		selector, _ := at(o, "spec", "selector").(object)
		var behind []pod
		for _, p := range running {
			if selects(object{"matchLabels": selector}, p.labels) {
				behind = append(behind, p)
			}
		}
		if len(behind) != 1 {
			t.Fatalf("%s leads to %d kinds of pods, want 1", name(o), len(behind))
		}
		for _, port := range list(o, "spec", "ports") {
			if got, want := ports(behind[0])[text(port, "targetPort")], strconv.Itoa(at(port, "port").(int)); got != want { //nolint:forcetypeassert // a port is a number
				t.Errorf("%s: port %s leads to %q", name(o), want, got)
			}
		}
	}
	if seen != len(services) {
		t.Errorf("%d Services for %d services", seen, len(services))
	}
}
