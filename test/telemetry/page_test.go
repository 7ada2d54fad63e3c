package telemetry_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/floodgate-dev/floodgate/test/suite"
)

// The other tables of the page: spans by kind and service, and events of the log as the source writes them.
var (
	spanRow  = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (client|consumer|internal|producer|server) \\|[^|]*\\|")
	eventRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (?:(?:debug|info|warn|error)(?:, )?)+ \\|[^|]*\\|[^|]*\\|")
)

// rowsOf are the lines of one table of the page, up to what they mean, by what they list.
func rowsOf(page string, row *regexp.Regexp, key func(found []string) string) map[string]string {
	listed := map[string]string{}
	for _, found := range row.FindAllStringSubmatch(page, -1) {
		listed[key(found)] = found[0]
	}
	return listed
}

func first(found []string) string { return found[1] }

// compare holds the rows of the page against those that are told, both ways.
func compare(t *testing.T, listed, told map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(told)) {
		if listed[name] != told[name] {
			t.Errorf("the page says  %s\nit should say  %s", listed[name], told[name])
		}
	}
	for name, row := range listed {
		if told[name] == "" {
			t.Errorf("the page lists %s, which nobody tells: %s", name, row)
		}
	}
}

// spanRows are the spans that were received as the page lists them. What stands for many names is a word in braces.
func spanRows(t *testing.T, in *receiver) map[string]string {
	t.Helper()
	by := map[[2]string]map[string]bool{}
	for _, s := range in.all() {
		is := [2]string{s.pattern(t), strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_"))}
		if by[is] == nil {
			by[is] = map[string]bool{}
		}
		by[is][s.service] = true
	}
	rows := map[string]string{}
	for is, services := range by {
		rows[is[0]+" "+is[1]] = fmt.Sprintf("| `%s` | %s | %s |", is[0], is[1], listed(services))
	}
	return rows
}

// replayOf are the topics of replays, of which each group has one.
var replayOf = regexp.MustCompile(`replay-(inventory|points|logistics|order-api|order-state-check)$`)

// pattern is the span's name, or the words for all names that are made the same way from what the span says.
func (s span) pattern(t *testing.T) string {
	t.Helper()
	about := words(s.GetAttributes())
	as := func(pattern, name string) string {
		if s.GetName() != name {
			t.Errorf("%s should be called %q: %v", line(s), name, about)
		}
		return pattern
	}
	switch {
	case about["db.system.name"] == "redis":
		return "{COMMAND}"
	case about["db.system.name"] != "":
		return as("{summary}", about["db.query.summary"])
	case about["http.request.method"] != "":
		return as("{METHOD} {route}", strings.TrimSpace(about["http.request.method"]+" "+about["http.route"]))
	case strings.HasPrefix(about["rpc.system.name"], "grpc"):
		return as("{package.Service}/{Method}", about["rpc.method"])
	}
	return replayOf.ReplaceAllString(s.GetName(), "replay-{group}")
}

// eventRows are the events that the source can write, as the page lists them.
func eventRows(known map[string]*written) map[string]string {
	rows := map[string]string{}
	for name, w := range known {
		rows[name] = w.row(name)
	}
	return rows
}

// logged checks every line that the suite wrote: it is an event that the source writes, of that level, with no field that the page
// does not know.
func (u usual) logged(t *testing.T, running *suite.Suite, known map[string]*written) {
	t.Helper()
	lines := 0
	for _, part := range running.All() {
		for text := range strings.Lines(part.Log()) {
			if strings.HasPrefix(text, "warning: ") {
				continue // of a setting, before there is a log
			}
			var said map[string]any
			if err := json.Unmarshal([]byte(text), &said); err != nil {
				t.Errorf("%s wrote what is no event: %q", part.Service, text)
				continue
			}
			lines++
			event, _ := said["msg"].(string)
			level, _ := said["level"].(string)
			if known[event] == nil || !known[event].levels[strings.ToLower(level)] {
				t.Errorf("%s wrote an event that the page does not list: %s", part.Service, text)
				continue
			}
			for field := range said {
				if !u[field] && !known[event].fields[field] {
					t.Errorf("%s wrote the field %q, which the page does not list: %s", part.Service, field, text)
				}
			}
		}
	}
	if lines < 20 {
		t.Errorf("the suite wrote %d events: too few to say anything", lines)
	}
}
