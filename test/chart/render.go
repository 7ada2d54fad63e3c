// Package chart holds what the Helm chart says of the services against the services: their settings, their words, their
// doors, and who may reach whom. The chart's own checks are `make helm-check`.
package chart

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// root is the checkout, chartDir the chart in it.
const (
	root     = "../.."
	chartDir = root + "/helm/floodgate"
)

// object is one object of Kubernetes.
type object = map[string]any

// tool is the path of one of the chart's tools.
func tool(tb testing.TB, name string) string {
	tb.Helper()
	out, err := exec.CommandContext(tb.Context(), "make", "--silent", "--no-print-directory", "-C", root, "helm-path").Output()
	if err != nil {
		tb.Fatalf("make helm-path: %v", err)
	}
	path := filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), name)
	if _, err := os.Stat(path); err != nil {
		tb.Fatalf("%v: `make test` and `make helm-check` build it", err)
	}
	return path
}

// template renders the chart with a helm of its own: none of the plugins and repositories of who runs the test.
func template(tb testing.TB, helm string, args ...string) (string, error) {
	tb.Helper()
	home := tb.TempDir()
	cmd := exec.CommandContext(tb.Context(), tool(tb, helm), append([]string{
		"template", "floodgate", chartDir, "--namespace", "shop", "--kube-version", "1.37.2",
	}, args...)...)
	cmd.Env = append(os.Environ(), "HELM_DATA_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_CACHE_HOME="+home)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, complaint.String())
	}
	return out.String(), nil
}

// render is what the chart makes of a file of values, hooks included.
func render(tb testing.TB, helm, values string) []object {
	tb.Helper()
	text, err := template(tb, helm, "--values", filepath.Join(chartDir, values))
	if err != nil {
		tb.Fatal(err)
	}
	var all []object
	for docs := yaml.NewDecoder(strings.NewReader(text)); ; {
		var o object
		if err := docs.Decode(&o); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			tb.Fatalf("%s: %v", values, err)
		}
		if o != nil {
			all = append(all, o)
		}
	}
}

// at walks into an object: at(o, "spec", "template"); nil where there is no such thing.
func at(o any, path ...string) any {
	for _, key := range path {
		m, ok := o.(object)
		if !ok {
			return nil
		}
		o = m[key]
	}
	return o
}

func text(o any, path ...string) string { s, _ := at(o, path...).(string); return s }

func list(o any, path ...string) []any { l, _ := at(o, path...).([]any); return l }

func name(o object) string { return text(o, "kind") + " " + text(o, "metadata", "name") }

// pod is a pod that the release runs.
type pod struct {
	of        string // its maker
	component string
	labels    object
	spec      object
}

// pods are those of all Deployments and Jobs.
func pods(tb testing.TB, all []object) []pod {
	tb.Helper()
	var found []pod
	for _, o := range all {
		spec, ok := at(o, "spec", "template", "spec").(object)
		if !ok {
			continue
		}
		labels, _ := at(o, "spec", "template", "metadata", "labels").(object)
		found = append(found, pod{name(o), text(labels, "app.kubernetes.io/component"), labels, spec})
	}
	if len(found) < 6 {
		tb.Fatalf("the chart makes %d pods", len(found))
	}
	return found
}

// container is the pod's only one.
func (p pod) container(tb testing.TB) object {
	tb.Helper()
	all := list(p.spec, "containers")
	if len(all) != 1 || list(p.spec, "initContainers") != nil {
		tb.Fatalf("%s has %d containers, want 1", p.of, len(all))
	}
	c, _ := all[0].(object)
	return c
}
