package servertest

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

const queriesPage = "docs/queries.md"

// comparePage compares the plans with those of the page: nodes and indexes, or the table's indexes only where another version
// of Postgres wrote it. Costs are only shown.
func (p *Plans) comparePage() {
	p.tb.Helper()
	path := p.find(queriesPage)
	page, err := os.ReadFile(path) //nolint:gosec // the page in the checkout
	p.must(err)
	begin, end := "<!-- begin "+p.owner+" -->\n", "<!-- end "+p.owner+" -->"
	before, rest, found := strings.Cut(string(page), begin)
	old, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		p.tb.Fatalf("%s has no section of %s: it begins with %q and ends with %q", queriesPage, p.owner, begin, end)
	}
	now := p.section()
	if os.Getenv("QUERIES") == "write" {
		p.must(os.WriteFile(path, []byte(before+begin+now+end+after), 0o600)) //nolint:gosec // the same page
		return
	}
	look := func(section string) []string { return append(rows(section), shapes(section)...) }
	if !strings.Contains(old, p.version) {
		look = rows
	}
	if old, now := look(old), look(now); !slices.Equal(old, now) {
		p.tb.Errorf("%s tells other plans of %s than Postgres; `make queries` writes what it does now.\nThe page: %s\nPostgres: %s",
			queriesPage, p.owner, strings.Join(without(old, now), "\n  "), strings.Join(without(now, old), "\n  "))
	}
}

// find is the way to a file of the checkout.
func (p *Plans) find(name string) string {
	p.tb.Helper()
	dir, err := os.Getwd()
	for ; err == nil && dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return filepath.Join(dir, name)
		}
	}
	p.tb.Fatalf("%s cannot be found: the test does not run in a checkout (%v)", name, err)
	return ""
}

// section is what the page says of one owner: a table of all statements, and each plan below it.
func (p *Plans) section() string {
	var table, plans strings.Builder
	fmt.Fprintf(&table, "\n## %s\n\n%s\n| | statement | for | looked up by | cost |\n|---|---|---|---|---|\n", p.owner, p.version)
	shown, n := map[string]bool{}, 0
	for _, path := range p.steps {
		fmt.Fprintf(&plans, "\n### %s: %s\n\nIn [%s](../%s).\n", p.owner, path.what, path.file, path.file)
		if names := path.covering(); len(names) > 0 {
			fmt.Fprintf(&plans, "\n"+coveredBy+"%s.\n", strings.Join(names, ", "))
		}
		for _, a := range path.asked {
			if shown[a.text] {
				continue // told above
			}
			shown[a.text] = true
			n++
			fmt.Fprintf(&table, "| %d | `%s` | [%s](../%s) | %s | %s |\n", n, database.Summary(a.text), path.what, path.file, a.indexes(), a.cost())
			fmt.Fprintf(&plans, "\n%d. `%s`\n\n```sql\n%s\n```\n\n```text\n%s\n```\n", n, database.Summary(a.text), flush(a.text), a.plan)
		}
	}
	return table.String() + plans.String() + "\n"
}

// flush takes the indentation of the code out of a statement.
func flush(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(slices.DeleteFunc(lines, func(line string) bool { return line == "" }), "\n")
}

var index = regexp.MustCompile(`(?:Index (?:Only )?Scan (?:Backward )?using |Bitmap Index Scan on |Conflict Arbiter Indexes: )(\w+)`)

func (a asked) indexes() string {
	var names []string
	for _, m := range index.FindAllStringSubmatch(a.plan, -1) {
		if name := "`" + m[1] + "`"; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return cmp.Or(strings.Join(names, ", "), "–")
}

// cost is the whole plan's, which its first node tells.
func (a asked) cost() string {
	first, _, _ := strings.Cut(a.plan, "\n")
	if m := node.FindStringSubmatch(first); m != nil {
		return m[2]
	}
	return "–"
}

// coveredBy begins the line that names the indexes of a path that are meant to be covering.
const coveredBy = "Meant to be covering, so that the table itself is not read: "

// shapes are the nodes of all plans of a section, without their costs, and the statements' numbers between them.
func shapes(section string) []string {
	var all []string
	for line := range strings.Lines(section) {
		line = strings.TrimRight(line, "\n")
		if m := node.FindStringSubmatch(line); m != nil {
			all = append(all, m[1])
		} else if numbered.MatchString(line) || strings.HasPrefix(line, "### ") || strings.HasPrefix(line, coveredBy) || strings.Contains(line, "Conflict Arbiter Indexes") {
			all = append(all, line)
		}
	}
	return all
}

// rows are those of the table of a section, without the cost.
func rows(section string) []string {
	var all []string
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| ") && strings.Count(line, "|") == 6 {
			all = append(all, line[:strings.LastIndex(strings.TrimSuffix(line, "|\n"), "|")])
		}
	}
	return all
}

var numbered = regexp.MustCompile("^\\d+\\. `")

// without are the lines of all that others have not.
func without(all, others []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(line string) bool { return slices.Contains(others, line) })
}
