package chart

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// valueFiles are the ways to set the chart that are tried.
func valueFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(chartDir + "/ci/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files of values: %v", len(files), err)
	}
	names := []string{"examples/values.yaml"}
	for _, f := range files {
		names = append(names, "ci/"+filepath.Base(f))
	}
	return names
}

// eachWay renders the chart in every way.
func eachWay(t *testing.T, test func(t *testing.T, all []object)) {
	t.Helper()
	for _, values := range valueFiles(t) {
		t.Run(values, func(t *testing.T) {
			t.Parallel()
			test(t, render(t, "helm4", values))
		})
	}
}

// TestEveryPodIsRestricted holds every pod against the restricted Pod Security Standard, and against what we ask beyond it.
func TestEveryPodIsRestricted(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, all []object) {
		for _, p := range pods(t, all) {
			for _, complaint := range p.unrestricted(t) {
				t.Errorf("%s: %s", p.of, complaint)
			}
		}
	})
}

func (p pod) unrestricted(t *testing.T) (bad []string) {
	t.Helper()
	c := p.container(t)
	wants := func(what any, path []string, want any) {
		if got := at(what, path...); !reflect.DeepEqual(got, want) {
			bad = append(bad, fmt.Sprintf("%v is %v, want %v", path, got, want))
		}
	}
	for _, key := range []string{"hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"} {
		wants(p.spec, []string{key}, nil)
	}
	wants(p.spec, []string{"automountServiceAccountToken"}, false)
	wants(p.spec, []string{"enableServiceLinks"}, false)
	wants(p.spec, []string{"securityContext", "runAsNonRoot"}, true)
	wants(p.spec, []string{"securityContext", "runAsUser"}, 65532)
	wants(p.spec, []string{"securityContext", "seccompProfile", "type"}, "RuntimeDefault")
	wants(c, []string{"securityContext", "allowPrivilegeEscalation"}, false)
	wants(c, []string{"securityContext", "readOnlyRootFilesystem"}, true)
	wants(c, []string{"securityContext", "runAsNonRoot"}, true)
	wants(c, []string{"securityContext", "runAsUser"}, 65532)
	wants(c, []string{"securityContext", "privileged"}, false)
	wants(c, []string{"securityContext", "capabilities"}, object{"drop": []any{"ALL"}})
	for _, port := range list(c, "ports") {
		wants(port, []string{"hostPort"}, nil)
	}
	for _, kind := range []string{"requests", "limits"} {
		if text(c, "resources", kind, "memory") == "" {
			bad = append(bad, "it says no memory in resources."+kind)
		}
	}
	for _, v := range list(p.spec, "volumes") {
		volume, _ := v.(object)
		for kind := range volume {
			if !slices.Contains([]string{"name", "configMap", "secret", "projected", "emptyDir", "downwardAPI"}, kind) {
				bad = append(bad, "it has a volume of kind "+kind)
			}
		}
	}
	return bad
}

// TestBothHelmsMakeTheSame compares what Helm 3 and Helm 4 render.
func TestBothHelmsMakeTheSame(t *testing.T) {
	t.Parallel()
	byName := func(all []object) map[string]object {
		out := map[string]object{}
		for _, o := range all {
			out[name(o)] = o
		}
		return out
	}
	for _, values := range valueFiles(t) {
		three, four := render(t, "helm3", values), render(t, "helm4", values)
		if len(three) != len(four) || !reflect.DeepEqual(byName(three), byName(four)) {
			t.Errorf("%s: Helm 3 makes %d objects, Helm 4 %d, or others", values, len(three), len(four))
		}
		if len(byName(four)) != len(four) {
			t.Errorf("%s: two objects have one name", values)
		}
	}
}
