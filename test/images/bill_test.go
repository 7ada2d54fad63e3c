package images_test

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// bill is a bill of materials, as far as it is compared.
type bill struct {
	Format     string `json:"bomFormat"`
	Metadata   struct{ Component component }
	Components []component
}

type component struct{ Name, Version, PURL string }

var pinned = regexp.MustCompile(`(?m)^CYCLONEDX_GOMOD\s*:= \$\(tools\)/(\S+)$`)

// biller is the tool that writes bills, as tools.mk pins it.
func biller(t *testing.T) string {
	t.Helper()
	makefile, _ := read(t, filepath.Join(root(t), "tools.mk"))
	at := pinned.FindSubmatch(makefile)
	if at == nil {
		t.Fatal("tools.mk pins no cyclonedx-gomod")
	}
	path := filepath.Join(root(t), "bin/tools", string(at[1]))
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no cyclonedx-gomod: make test builds it: %v", err)
	}
	return path
}

// billOf has the bill of a binary written as `make images` has it, twice: the same bytes, or images would differ in nothing else.
func billOf(t *testing.T, file string) {
	t.Helper()
	var first []byte
	for range 2 {
		cmd := exec.CommandContext(t.Context(), filepath.Join(root(t), "deploy/docker/bill.sh"), biller(t), "v1.2.3", file)
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("bill.sh: %v\n%s", err, said)
		}
		again, _ := read(t, file+".cdx.json")
		if first != nil && !bytes.Equal(first, again) {
			t.Error("the same binary has two bills")
		}
		first = again
	}
	billIsTrue(t, file)
}

// billIsTrue compares the bill beside a binary with what the linker wrote into it.
func billIsTrue(t *testing.T, file string) {
	t.Helper()
	text, _ := read(t, file+".cdx.json")
	var b bill
	if err := json.Unmarshal(text, &b); err != nil || b.Format != "CycloneDX" {
		t.Fatalf("the bill of %s: %s, %v", file, b.Format, err)
	}
	listed := map[string]bool{}
	for _, c := range b.Components {
		listed[c.Name] = true
	}
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.Metadata.Component.Name != info.Main.Path || !listed["std"] || len(info.Deps) < 20 {
		t.Errorf("the bill of %s is of %s; %d modules", file, b.Metadata.Component.Name, len(info.Deps))
	}
	for _, d := range info.Deps {
		if !listed[d.Path] {
			t.Errorf("%s holds %s %s, which its bill does not list", file, d.Path, d.Version)
		}
	}
	if want := len(info.Deps) + 1; len(b.Components) != want {
		t.Errorf("the bill of %s lists %d components, want %d", file, len(b.Components), want)
	}
}
