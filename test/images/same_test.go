// Package images_test tries the images of the suite: what is in them, and that they can be made again byte for byte. What
// needs docker or podman is tried by `make images-check`.
package images_test

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// root is the checkout.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// elsewhere is a copy of what the services are built from, in a folder that no other build has seen and no git knows.
func elsewhere(t *testing.T) string {
	t.Helper()
	from, to := root(t), filepath.Join(t.TempDir(), "another place")
	for _, dir := range []string{"proto", "pkg", "services", "deploy", "test"} {
		if err := os.CopyFS(filepath.Join(to, dir), os.DirFS(filepath.Join(from, dir))); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"go.work", "go.work.sum"} {
		text, err := os.ReadFile(filepath.Join(from, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// compile makes the binary of one service as it goes into an image.
func compile(t *testing.T, checkout, version, service string) (file string) {
	t.Helper()
	out := t.TempDir()
	cmd := exec.CommandContext(t.Context(), filepath.Join(checkout, "deploy/docker/compile.sh"), out, version, service)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compile.sh: %v\n%s", err, said)
	}
	return filepath.Join(out, service)
}

func read(t *testing.T, file string) (content []byte, sum string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := sha256.Sum256(content)
	return content, hex.EncodeToString(s[:])
}

// TestBinariesForImages builds a service here and in another folder.
func TestBinariesForImages(t *testing.T) {
	t.Parallel()
	here, there := root(t), elsewhere(t)
	file := compile(t, here, "v1.2.3", "points")
	t.Run("SameBytesTwice", func(t *testing.T) {
		t.Parallel()
		content, one := read(t, file)
		if _, other := read(t, compile(t, there, "v1.2.3", "points")); one != other {
			t.Errorf("built in %s: sha256 %s; in %s: %s", here, one, there, other)
		}
		for _, place := range []string{here, there} {
			if bytes.Contains(content, []byte(place)) {
				t.Errorf("the binary tells where it was built: %s", place)
			}
		}
	})
	t.Run("VersionIsStamped", func(t *testing.T) {
		t.Parallel()
		said, err := exec.CommandContext(t.Context(), file, "version").Output()
		if err != nil || string(said) != "points v1.2.3\n" {
			t.Errorf("version: %q, %v", said, err)
		}
	})
	t.Run("BillIsTrue", func(t *testing.T) { t.Parallel(); billOf(t, file) })
	t.Run("NeedsNoLoader", func(t *testing.T) { t.Parallel(); needsNoLoader(t, file) })
	t.Run("BuiltAsTheDockerfileSays", func(t *testing.T) { t.Parallel(); builtAsSaid(t, file) })
}

// needsNoLoader looks for what an empty image would lack.
func needsNoLoader(t *testing.T, file string) {
	t.Helper()
	program, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = program.Close() }()
	for _, part := range program.Progs {
		if part.Type == elf.PT_INTERP || part.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary needs a loader: %v", part.Type)
		}
	}
}

func builtAsSaid(t *testing.T, file string) {
	t.Helper()
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := "go" + goVersion(t); info.GoVersion != want {
		t.Errorf("built by %s; the Dockerfile names %s", info.GoVersion, want)
	}
	for _, s := range info.Settings {
		if strings.HasPrefix(s.Key, "vcs") {
			t.Errorf("the binary knows the state of the checkout: %s=%s", s.Key, s.Value)
		}
	}
}

// goVersion is the Go of the Dockerfile.
func goVersion(t *testing.T) string {
	t.Helper()
	text, _ := read(t, filepath.Join(root(t), "deploy/docker/Dockerfile"))
	_, after, found := strings.Cut(string(text), "/golang:")
	version, _, ended := strings.Cut(after, " AS build\n")
	if !found || !ended {
		t.Fatal("the Dockerfile names no golang image for its stage build")
	}
	return version
}
