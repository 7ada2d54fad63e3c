package telemetry_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/floodgate-dev/floodgate/test/suite"
)

// seen is a metric as Prometheus sees it.
type seen struct {
	kind   string
	labels map[string]bool
}

// scraped is every metric of a running suite by name.
func scraped(t *testing.T, s *suite.Suite) map[string]*seen {
	t.Helper()
	all := map[string]*seen{}
	for _, part := range s.All() {
		for name, family := range scrape(t, part.Ops) {
			if all[name] == nil {
				all[name] = &seen{kind: strings.ToLower(family.GetType().String()), labels: map[string]bool{}}
			}
			for _, m := range family.GetMetric() {
				for _, l := range m.GetLabel() {
					all[name].labels[l.GetName()] = true
				}
			}
		}
	}
	return all
}

func scrape(t *testing.T, ops string) map[string]*dto.MetricFamily {
	t.Helper()
	ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+ops+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }() // it was read, or its error is told
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// bounded checks that no series is about somebody or something in named: users, orders and items come and go, and each would leave
// series behind.
func bounded(t *testing.T, s *suite.Suite, named []string) {
	t.Helper()
	values := 0
	for _, part := range s.All() {
		for name, family := range scrape(t, part.Ops) {
			for _, m := range family.GetMetric() {
				for _, l := range m.GetLabel() {
					values++
					if i := slices.IndexFunc(named, func(who string) bool { return strings.Contains(l.GetValue(), who) }); i >= 0 {
						t.Errorf("%s of %s has a series about %s: %s=%q", name, part.Service, named[i], l.GetName(), l.GetValue())
					}
				}
			}
		}
	}
	if values < 1000 || slices.Contains(named, "") {
		t.Errorf("%d values of labels, compared with %q: too few to say anything", values, named)
	}
}

// library says that a metric is Prometheus' own client's, which lists them itself.
func library(name string) bool {
	return strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") || name == "target_info"
}

// row is the metric as docs/telemetry.md lists it, up to what it means. error_type is left out: it comes with failures.
func (m *seen) row(name string) string {
	delete(m.labels, "error_type")
	labels := "–"
	if len(m.labels) > 0 {
		labels = "`" + strings.Join(slices.Sorted(maps.Keys(m.labels)), "` `") + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s |", name, m.kind, labels)
}
