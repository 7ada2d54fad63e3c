package compose_test

import (
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"go.yaml.in/yaml/v3"
)

func parse[T any](t *testing.T, file string) (content T) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, file)), &content); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return content
}

// TestTracesGoWhereTheyAreTaken sees that the services send traces to the collector when it was asked for, and to nobody
// otherwise.
func TestTracesGoWhereTheyAreTaken(t *testing.T) {
	t.Parallel()
	if to := load(t).Services["points"].Environment["OTEL_EXPORTER_OTLP_ENDPOINT"]; to == nil || *to != "" {
		t.Error("traces are sent, but nobody takes them")
	}
	options, err := cli.NewProjectOptions([]string{filepath.Join(root(t), "docker-compose.yml")},
		cli.WithWorkingDirectory(root(t)), cli.WithEnv([]string{"COMPOSE_PROFILES=observe"}), cli.WithEnvFiles(), cli.WithDotEnv, cli.WithDefaultProfiles())
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	receivers := parse[struct {
		Receivers struct {
			OTLP struct {
				Protocols struct{ GRPC struct{ Endpoint string } }
			}
		}
	}](t, "deploy/otel/collector.yaml").Receivers.OTLP.Protocols
	for _, name := range ours {
		to, err := url.Parse(*project.Services[name].Environment["OTEL_EXPORTER_OTLP_ENDPOINT"])
		if err != nil || to.Hostname() != "otel-collector" || receivers.GRPC.Endpoint != "0.0.0.0:"+to.Port() {
			t.Errorf("%s sends traces to %v, %v; the collector takes them at %s", name, to, err, receivers.GRPC.Endpoint)
		}
		s := services[name].read(inContainer(t, project.Services[name]))
		if len(s.said) > 0 {
			t.Errorf("%s: %s", name, s.said)
		}
		for variable := range project.Services[name].Environment {
			if strings.HasPrefix(variable, "OTEL_") && !slices.Contains(s.origins, variable) {
				t.Errorf("%s is given %s, from which it takes no setting", name, variable)
			}
		}
	}
	if _, there := project.Services["otel-collector"]; !there {
		t.Error("the collector does not come with COMPOSE_PROFILES=observe")
	}
}

// TestTheCollectorIsWired sees that the pipeline names what is there, and sends to a container.
func TestTheCollectorIsWired(t *testing.T) {
	t.Parallel()
	c := parse[struct {
		Receivers, Processors map[string]any
		Exporters             map[string]struct{ Endpoint string }
		Service               struct {
			Pipelines map[string]struct{ Receivers, Processors, Exporters []string }
		}
	}](t, "deploy/otel/collector.yaml")
	pipe, there := c.Service.Pipelines["traces"]
	if !there || len(c.Service.Pipelines) != 1 {
		t.Fatalf("pipelines %v, want one, of traces", slices.Sorted(maps.Keys(c.Service.Pipelines)))
	}
	for _, part := range []struct {
		what        string
		named, have []string
	}{
		{"receivers", pipe.Receivers, slices.Sorted(maps.Keys(c.Receivers))},
		{"processors", slices.Sorted(slices.Values(pipe.Processors)), slices.Sorted(maps.Keys(c.Processors))},
		{"exporters", pipe.Exporters, slices.Sorted(maps.Keys(c.Exporters))},
	} {
		if !slices.Equal(part.named, part.have) {
			t.Errorf("the pipeline's %s are %q, those there are %q", part.what, part.named, part.have)
		}
	}
	for name, e := range c.Exporters {
		if host, _, _ := strings.Cut(e.Endpoint, ":"); all(t)[host].Image == "" {
			t.Errorf("%s sends to %s, which is no container", name, e.Endpoint)
		}
	}
}

// TestPrometheusAsksEveryService compares what is scraped with the operations doors, and whom it tells with who is there.
func TestPrometheusAsksEveryService(t *testing.T) {
	t.Parallel()
	type targets []struct{ Targets []string }
	p := parse[struct {
		ScrapeConfigs []struct {
			StaticConfigs targets `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
		Alerting struct {
			Alertmanagers []struct {
				StaticConfigs targets `yaml:"static_configs"`
			}
		}
	}](t, "deploy/prometheus/prometheus.yml")
	var asked, want []string
	for _, job := range p.ScrapeConfigs {
		for _, s := range job.StaticConfigs {
			asked = append(asked, s.Targets...)
		}
	}
	for _, name := range ours {
		want = append(want, fmt.Sprintf("%s:%d", name, services[name].read(nil).doors.OpsPort))
	}
	slices.Sort(asked)
	slices.Sort(want)
	if !slices.Equal(asked, want) {
		t.Errorf("Prometheus asks %q, the operations doors are %q", asked, want)
	}
	if told := p.Alerting.Alertmanagers; len(told) != 1 || !slices.Equal(told[0].StaticConfigs[0].Targets, []string{"alertmanager:9093"}) {
		t.Errorf("alerts are told to %v", told)
	}
}
