package house_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/floodgate-dev/floodgate/test/house"
)

var (
	row      = regexp.MustCompile("(?m)^\\| .* \\| `([a-z/_.-]+\\.go)` \\| (.+) \\|$")
	word     = regexp.MustCompile("`([^`]+)`")
	link     = regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)
	external = regexp.MustCompile(`^[a-z]+:`)
	phony    = regexp.MustCompile(`(?m)^\.PHONY: (\S+)$`)
	kind     = regexp.MustCompile(`kafka\.Permanent\("([^"]+)"`)
)

// TestTheMapIsTrue finds every function of the journey where ARCHITECTURE.md says it stands.
func TestTheMapIsTrue(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	h, err := house.Read("../..")
	if err != nil {
		t.Fatal(err)
	}
	steps := row.FindAllStringSubmatch(string(text), -1)
	if len(steps) < 10 {
		t.Fatalf("the journey has %d steps: it cannot be read", len(steps))
	}
	for _, step := range steps {
		for _, name := range word.FindAllStringSubmatch(step[2], -1) {
			lines, stands := h.Func(step[1], name[1])
			if !stands {
				t.Errorf("ARCHITECTURE.md: there is no %s in %s", name[1], step[1])
			}
			if lines > 60 {
				t.Errorf("%s in %s has %d lines: it fits no screen", name[1], step[1], lines)
			}
		}
	}
}

// TestLinksLeadSomewhere follows every relative link of every page.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	followed := 0
	err := filepath.WalkDir("../..", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && len(entry.Name()) > 2 || entry.Name() == "bin" || entry.Name() == "testdata") {
			return fs.SkipDir
		}
		if filepath.Ext(name) != ".md" {
			return nil
		}
		page, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, to := range link.FindAllStringSubmatch(string(page), -1) {
			if external.MatchString(to[1]) {
				continue
			}
			followed++
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), to[1])); err != nil {
				t.Errorf("%s links to %s: %v", name, to[1], err)
			}
		}
		return nil
	})
	if err != nil || followed < 10 {
		t.Fatalf("followed %d links: %v", followed, err)
	}
}

// TestEveryKindOfDeathHasARunbook finds a page for each kind of error that records die of, linked from the page about dead
// letters, and no page for a kind that nobody says.
func TestEveryKindOfDeathHasARunbook(t *testing.T) {
	t.Parallel()
	want := map[string]bool{"failed": true, "undecodable": true} // those of the runtime
	err := filepath.WalkDir("../../services", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := os.ReadFile(name)
		for _, of := range kind.FindAllSubmatch(text, -1) {
			want[string(of[1])] = true
		}
		return err
	})
	if err != nil || len(want) < 4 {
		t.Fatalf("found the kinds %v: %v", want, err)
	}
	index, err := os.ReadFile("../../docs/dead-letters.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("../../docs/runbooks/dead-letter-*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		of := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(page), "dead-letter-"), ".md")
		if !want[of] {
			t.Errorf("%s is about a kind that nobody says", page)
		}
		delete(want, of)
		if !strings.Contains(string(index), "(runbooks/"+filepath.Base(page)+")") {
			t.Errorf("docs/dead-letters.md does not link to %s", page)
		}
	}
	for of := range want {
		t.Errorf("there is no docs/runbooks/dead-letter-%s.md", of)
	}
}

// TestHelpListsEverything compares the targets of the Makefile with what `make help` prints.
func TestHelpListsEverything(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	help, err := exec.CommandContext(t.Context(), "make", "-s", "-C", "../..", "help").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, help)
	}
	targets := phony.FindAllStringSubmatch(string(text), -1)
	if len(targets) < 20 {
		t.Fatalf("the Makefile has %d targets: it cannot be read", len(targets))
	}
	for _, target := range targets {
		if !strings.Contains(string(help), "  make "+target[1]+" ") {
			t.Errorf("`make help` does not list %s: has it a line of its own behind ##?", target[1])
		}
	}
}
