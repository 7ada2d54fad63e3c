package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestWhatCannotWorkIsRefused changes one value of the least that must be said.
func TestWhatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ set, complaint string }{
		{"image.registry=", "/image/registry"},
		{"image.registry=null", "image"},
		{"image.registri=x", "registri"},
		{"kafka.brokers=null", "brokers"},
		{"kafka.brokers={kafka}", "/kafka/brokers/0"},
		{"kafka.partitions=0", "/kafka/partitions"},
		{"kafka.tls.on=true", "on"},
		{"services.billing.replicas=1", "billing"},
		{"services.points.replica=1", "replica"},
		{"services.points.replicas=0", "/services/points/replicas"},
		{"services.points.resources.limits.gpu=1", "gpu"},
		{"settings.database_dsn=postgres://x", "/settings"},
		{"services.order-api.settings.redis_addrs=x", "/services/order-api/settings"},
		{"database.sslmode=prefer", "/database/sslmode"},
		{"networkPolicy.door[0].namespace=x", "namespace"},
		{"surprise=1", "surprise"},
		{"database.host=", "set database.host, or services.dlq-replayer.database.host"},
		{"database.existingSecret=", "set database.existingSecret"},
		{"auth.existingSecret=", "set exactly one of auth.existingSecret"},
		{"auth.jwksUrl=https://issuer.example/jwks", "set exactly one of auth.existingSecret"},
		{"redis.addrs=null", "set redis.addrs, or services.order-api.settings.gate"},
		{"redis.username=me", "redis.username needs redis.existingSecret"},
		{"kafka.sasl.mechanism=plain", "kafka.sasl.mechanism needs kafka.sasl.username"},
		{"redis.tls.ca.existingSecret=ca", "redis.tls.ca and redis.tls.client need redis.tls.enabled"},
		{"services.points.preStopSeconds=20", "terminationGracePeriodSeconds of points must be 53 or more"},
		{"services.points.drainDelaySeconds=11", "terminationGracePeriodSeconds of points must be 46 or more"},
		{"settings.drain_delay=3s", "/settings"},
		{"services.dlq-replayer.autoscaling.enabled=true", "dlq-replayer does not scale by itself"},
		{"services.points.autoscaling.maxReplicas=1", "the autoscaling.maxReplicas of points is below"},
		{"services.points.autoscaling.enabled=true,kafka.partitions=1", "the autoscaling.minReplicas of points is 2, but kafka.partitions is 1"},
		{"ingress.enabled=true", "ingress.enabled needs ingress.host"},
		{"httpRoute.enabled=true", "httpRoute.enabled needs httpRoute.parentRefs"},
	} {
		t.Run(c.set, func(t *testing.T) {
			t.Parallel()
			_, err := template(t, "helm4", "--values", filepath.Join(chartDir, "ci/minimal.yaml"), "--set", c.set)
			if err == nil || !strings.Contains(err.Error(), c.complaint) {
				t.Errorf("helm says %v, want %q in it", err, c.complaint)
			}
		})
	}
	if _, err := template(t, "helm4", "--values", filepath.Join(chartDir, "ci/minimal.yaml"), "--set", "database.ca.existingSecret=ca,database.sslmode=require"); err == nil {
		t.Error("an authority that nobody asks is taken")
	}
}

// TestTheSchemaIsStrict wants every object of the schema closed, but for those that say in a comment why not.
func TestTheSchemaIsStrict(t *testing.T) {
	t.Parallel()
	bytes, err := os.ReadFile(chartDir + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema any
	if err := json.Unmarshal(bytes, &schema); err != nil {
		t.Fatal(err)
	}
	closed, open := 0, 0
	var visit func(where string, part any)
	visit = func(where string, part any) {
		switch p := part.(type) {
		case map[string]any:
			if p["type"] == "object" {
				switch {
				case p["additionalProperties"] == false:
					closed++
				case text(p, "$comment") != "":
					open++
				default:
					t.Errorf("%s takes what it does not know", where)
				}
			}
			for key, inner := range p {
				visit(where+"/"+key, inner)
			}
		case []any:
			for _, inner := range p {
				visit(where, inner)
			}
		}
	}
	visit("", schema)
	if closed < 30 || open != 2 {
		t.Errorf("%d objects are closed and %d open; only what a parent chart or Kubernetes checks may be open", closed, open)
	}
}

// TestTheChartHoldsTheRulesAndDashboards compares what lies in the chart with where it is written.
func TestTheChartHoldsTheRulesAndDashboards(t *testing.T) {
	t.Parallel()
	made := map[string]int{}
	for _, o := range render(t, "helm4", "ci/everything.yaml") {
		made[text(o, "kind")]++
		if text(o, "kind") == "PrometheusRule" && len(list(o, "spec", "groups")) == 0 {
			t.Errorf("%s has no groups", name(o))
		}
	}
	for _, c := range []struct{ from, to, kind string }{
		{"deploy/prometheus/rules/*.yaml", "rules", "PrometheusRule"},
		{"deploy/grafana/dashboards/*.json", "dashboards", "ConfigMap"},
	} {
		written, err := filepath.Glob(filepath.Join(root, c.from))
		if err != nil {
			t.Fatal(err)
		}
		held, err := filepath.Glob(filepath.Join(chartDir, "files", c.to, "*"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(contents(t, written), contents(t, held)) {
			t.Errorf("helm/floodgate/files/%s is not what %s holds: run `make generate`", c.to, c.from)
		}
		want := len(written)
		if c.kind == "ConfigMap" {
			want++ // of extraObjects
		}
		if made[c.kind] != want {
			t.Errorf("the chart makes %d of kind %s of %d files", made[c.kind], c.kind, len(written))
		}
	}
	if made["PrometheusRule"] == 0 {
		t.Error("there are no rules")
	}
}

// contents are names and bytes of files, in order.
func contents(t *testing.T, files []string) (all []string) {
	t.Helper()
	for _, f := range files {
		bytes, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, filepath.Base(f)+"\n"+string(bytes))
	}
	slices.Sort(all)
	return all
}
