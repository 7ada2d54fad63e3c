package chart

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMakeTestBuildsTheTools asks make what `make test` would do where nothing was built yet: a clean clone has no tools, and
// the tests here, of alerts and of images cannot do without.
func TestMakeTestBuildsTheTools(t *testing.T) {
	t.Parallel()
	plan, err := exec.CommandContext(t.Context(), "make", "--dry-run", "--always-make", "--no-print-directory", "-C", root, "test").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, plan)
	}
	tools, tests, found := strings.Cut(string(plan), "test.sh")
	if !found || strings.Contains(tests, "go build") {
		t.Fatalf("make test does not end with the tests:\n%s", plan)
	}
	for _, built := range []string{"helm.sh/helm/v3/cmd/helm", "helm.sh/helm/v4/cmd/helm", "/cmd/amtool@", "/cmd/cyclonedx-gomod@"} {
		if !strings.Contains(tools, built) {
			t.Errorf("make test does not build %s first:\n%s", built, plan)
		}
	}
}

// TestWithoutAClusterItSaysWhatIsMissing runs what `make helm-e2e` runs, with a helm that no one may call: what it needs is
// asked for one after the other, each in a sentence that says what to set.
func TestWithoutAClusterItSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	there := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		environ []string
		says    string
	}{
		"no cluster":              {nil, "KUBECONFIG is not set: name a cluster's configuration file"},
		"a cluster nobody knows":  {[]string{"KUBECONFIG=" + there + ".not"}, "KUBECONFIG is " + there + ".not, which cannot be read"},
		"no values":               {[]string{"KUBECONFIG=" + there}, "VALUES is not set: name a values file"},
		"values that are nowhere": {[]string{"KUBECONFIG=" + there, "VALUES=" + there + ".not"}, "VALUES is " + there + ".not, which cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), "helm/e2e.sh", filepath.Join(t.TempDir(), "no-helm"))
			cmd.Dir = root
			cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, c.environ...)
			said, err := cmd.CombinedOutput()
			if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("it ends with %v", err)
			}
			if line := strings.TrimSuffix(string(said), "\n"); !strings.Contains(line, c.says) || strings.Contains(line, "\n") {
				t.Errorf("it says\n%s\nwant one line with %q", said, c.says)
			}
		})
	}
}
