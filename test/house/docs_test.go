package house_test

import (
	"io/fs"
	"os"
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
