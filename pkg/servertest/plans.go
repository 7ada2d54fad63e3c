package servertest

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

// Plans runs a store's hot paths on full tables and learns from Postgres how each of their statements was run. Nothing is
// copied: the statements are those that the code sends, with the settings of the connections that it sends them on.
type Plans struct {
	DB *database.DB // opened by Watch

	tb     testing.TB
	owner  string
	server *PostgresProcess
	steps  []hotPath

	version string // as the page says it
}

// hotPath is something that the code does all the time.
type hotPath struct {
	what, file string
	shows      []string
	asked      []asked
}

// asked is one statement and the plan by which it was run.
type asked struct{ text, plan string }

// NewPlans starts a Postgres whose log tells plans. owner names the section of docs/queries.md.
func NewPlans(tb testing.TB, owner string) *Plans {
	tb.Helper()
	return &Plans{tb: tb, owner: owner, server: PostgresServer(tb)}
}

// Fill makes tables and lets fill put rows into them.
func (p *Plans) Fill(tables []database.Migrations, fill ...string) {
	p.tb.Helper()
	db := Open(p.tb, p.server.DSN)
	p.must(database.Migrate(p.tb.Context(), db, tables...))
	for _, statement := range fill {
		_, err := db.ExecContext(p.tb.Context(), statement)
		p.must(err)
	}
	_, err := db.ExecContext(p.tb.Context(), "VACUUM ANALYZE")
	p.must(err)
}

// Look asks for texts, such as the ids of rows, before anybody watches.
func (p *Plans) Look(query string, into *[]string) {
	p.tb.Helper()
	rows, err := Open(p.tb, p.server.DSN).QueryContext(p.tb.Context(), query)
	*into, err = database.Collect(rows, err, func(rows *sql.Rows) (text string, err error) {
		err = rows.Scan(&text)
		return text, err
	})
	p.must(err)
}

// Watch opens DB, whose statements the log tells of from now on.
func (p *Plans) Watch() {
	p.tb.Helper()
	db := Open(p.tb, p.server.DSN)
	for _, setting := range []string{
		"session_preload_libraries = 'auto_explain'", "auto_explain.log_min_duration = 0", "auto_explain.log_parameter_max_length = 0",
	} {
		_, err := db.ExecContext(p.tb.Context(), "ALTER DATABASE postgres SET "+setting)
		p.must(err)
	}
	p.DB = Open(p.tb, p.server.DSN)
}

// Path runs a hot path: what it does in a few words, and the file where it does it. Each of shows must stand in a plan of its
// statements: the indexes that they are meant to use. "Index Only Scan using …" says that the index is meant to cover what is
// asked, and the page tells it.
func (p *Plans) Path(what, file string, run func(ctx context.Context) error, shows ...string) {
	p.tb.Helper()
	_, err := p.DB.ExecContext(p.tb.Context(), fmt.Sprintf("DO $$BEGIN RAISE LOG '%s%d'; END$$", mark, len(p.steps)))
	p.must(err)
	p.must(run(p.tb.Context()))
	p.steps = append(p.steps, hotPath{what: what, file: file, shows: shows})
}

const mark = "hot path "

// Check holds the plans against what the paths were to show and against docs/queries.md, or writes that page's section where
// QUERIES=write is set. No table may be read from end to end but those of small, which never grow.
func (p *Plans) Check(small ...string) {
	p.tb.Helper()
	var version int
	p.must(p.DB.QueryRowContext(p.tb.Context(), "SELECT current_setting('server_version_num')::int / 10000").Scan(&version))
	p.version = fmt.Sprintf("Plans of Postgres %d.\n", version)
	p.server.Stop()
	p.read(p.server.process.out.String())
	for _, path := range p.steps {
		p.hold(path, small)
	}
	p.comparePage()
}

func (p *Plans) hold(path hotPath, small []string) {
	p.tb.Helper()
	if len(path.asked) == 0 {
		p.tb.Errorf("%s: no plan is known of any statement", path.what)
	}
	for _, a := range path.asked {
		for _, read := range a.whole() {
			if !slices.Contains(small, read) {
				p.tb.Errorf("%s: %s is read from end to end:\n%s\n%s", path.what, read, a.text, a.plan)
			}
		}
	}
	for _, want := range path.shows {
		if !slices.ContainsFunc(path.asked, func(a asked) bool { return strings.Contains(a.plan, want) }) {
			p.tb.Errorf("%s: no statement uses %s: %v", path.what, want, path.asked)
		}
	}
}

// whole are the tables and indexes of which nothing bounds how much is read: neither a condition nor, above it, a limit. A
// limit does not bound the inner side of a merge, which is walked up to where the outer side begins.
func (a asked) whole() []string {
	var names []string
	for _, m := range wholeTable.FindAllStringSubmatch(a.plan, -1) {
		names = append(names, m[1])
	}
	limit := strings.Index(a.plan, "Limit  (cost")
	if strings.Contains(a.plan, "Merge Cond") {
		limit = -1
	}
	for _, at := range index.FindAllStringSubmatchIndex(a.plan, -1) {
		_, below, _ := strings.Cut(a.plan[at[0]:], "\n")
		cond, _, _ := strings.Cut(strings.TrimSpace(below), "\n")
		arbiter := strings.HasPrefix(a.plan[at[0]:], "Conflict")
		if !arbiter && !strings.HasPrefix(cond, "Index Cond") && (limit < 0 || limit > at[0]) {
			names = append(names, a.plan[at[2]:at[3]])
		}
	}
	return names
}

var (
	wholeTable = regexp.MustCompile(`Seq Scan on (\w+)`)
	logged     = regexp.MustCompile(`^\d{4}-\d\d-\d\d .* \[\d+\] \w+:  (.*)$`)
	node       = regexp.MustCompile(`^(.*\S)  \(cost=[\d.]+\.\.([\d.]+) rows=\d+ width=\d+\)$`)
)

// covering are the indexes that are meant to answer a statement of the path without a look at the table.
func (h hotPath) covering() []string {
	var names []string
	for _, want := range h.shows {
		if m := onlyIndex.FindStringSubmatch(want); m != nil {
			names = append(names, "`"+m[1]+"`")
		}
	}
	return names
}

var onlyIndex = regexp.MustCompile(`^Index Only Scan (?:Backward )?using (\w+)`)

// read takes the plans of each path out of what the server logged.
func (p *Plans) read(log string) {
	var entry []string
	step := -1
	take := func() {
		switch {
		case len(entry) == 0:
		case strings.HasPrefix(entry[0], mark):
			step++
		case step >= 0 && step < len(p.steps) && strings.HasSuffix(entry[0], "plan:"):
			p.steps[step].add(planOf(entry[1:]))
		}
		entry = nil
	}
	for line := range strings.Lines(log) {
		line = strings.TrimSuffix(line, "\n")
		if first := logged.FindStringSubmatch(line); first != nil {
			take()
			entry = []string{first[1]}
		} else if more, ok := strings.CutPrefix(line, "\t"); ok && entry != nil {
			entry = append(entry, more)
		}
	}
	take()
}

// planOf tells the statement and its plan apart: the plan begins with the first node.
func planOf(lines []string) asked {
	begins := slices.IndexFunc(lines, node.MatchString)
	if begins < 0 {
		return asked{}
	}
	text := strings.TrimPrefix(strings.Join(lines[:begins], "\n"), "Query Text: ")
	return asked{text: strings.TrimSpace(text), plan: masked(strings.Join(lines[begins:], "\n"))}
}

// masked leaves out what differs from run to run.
func masked(plan string) string {
	return moments.ReplaceAllString(literals.ReplaceAllString(plan, "?"), "?")
}

var (
	literals = regexp.MustCompile(`'(?:[^']|'')*'`)
	moments  = regexp.MustCompile(`\b\d{9,}\b`)
	relation = regexp.MustCompile(`(?m)(?:(?:Seq|Index|Only|Heap) Scan(?: .*)?|Insert|Update|Delete) on (\w+)`)
)

// add keeps what reads or writes a table, once for each text.
func (h *hotPath) add(a asked) {
	touches := slices.ContainsFunc(relation.FindAllStringSubmatch(a.plan, -1), func(m []string) bool {
		return !strings.HasPrefix(m[1], "pg_")
	})
	if touches && !slices.ContainsFunc(h.asked, func(known asked) bool { return known.text == a.text }) {
		h.asked = append(h.asked, a)
	}
}

func (p *Plans) must(err error) {
	p.tb.Helper()
	if err != nil {
		p.tb.Fatal(err)
	}
}
