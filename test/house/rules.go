package house

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Rule is one law of the house. Check lists what breaks it, one sentence each.
type Rule struct {
	Name  string
	Check func(House) []string
}

// Rules are all laws of the house. rulesRooms are the packages that decide and therefore know nothing but the standard
// library; moves is the one file that may write an order's status.
func Rules(rulesRooms []string, moves string) []Rule {
	return []Rule{
		{"services-never-import-each-other", services},
		{"shared-rooms-know-no-service", shared},
		{"dependencies-live-in-one-room", dependencies},
		{"rules-know-the-standard-library-only", rules(rulesRooms)},
		{"a-shared-room-has-two-importers", importers},
		{"only-moves-write-a-status", statuses(moves)},
		{"main-is-short", mains},
		{"no-test-is-skipped", skips},
	}
}

// each runs check over every import of every file.
func (h House) each(check func(f File, imported string) string) []string {
	var found []string
	for _, f := range h.Files {
		for _, imported := range f.Imports {
			if complaint := check(f, imported); complaint != "" {
				found = append(found, fmt.Sprintf("%s imports %s: %s", f.Path, strings.TrimPrefix(imported, Module), complaint))
			}
		}
	}
	return found
}

// service is the service a path lies in, "" for none.
func service(p string) string {
	rest, ok := strings.CutPrefix(p, "services/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func services(h House) []string {
	return h.each(func(f File, imported string) string {
		mine, theirs := service(f.Path), service(strings.TrimPrefix(imported, Module))
		switch {
		case mine != "" && theirs != "" && mine != theirs:
			return "services never import each other"
		case mine != "" && (within(imported, Module+"deploy") || within(imported, Module+"test")):
			return "a service is seen by deploy and test, and sees neither"
		}
		return ""
	})
}

func shared(h House) []string {
	return h.each(func(f File, imported string) string {
		ours := strings.HasPrefix(imported, Module)
		switch {
		case f.In("pkg") && ours && !within(imported, Module+"pkg"):
			return "pkg knows bytes and headers, never orders"
		case f.In("proto") && ours && !within(imported, Module+"proto"):
			return "proto holds words and nothing else"
		case !f.In("test") && within(imported, Module+"test"):
			return "test is seen by nobody"
		}
		return ""
	})
}

// homes says in which rooms a dependency may be imported, tests included. The test module looks at Kafka from outside,
// as a subscriber would; what `make bench` compares with is written with the libraries that others would take.
var homes = []struct {
	dependency string
	rooms      []string
}{
	{"github.com/segmentio/kafka-go", []string{"pkg/kafka", "test"}},
	{"github.com/gin-gonic/gin", []string{"services/order-api/internal/httpapi"}},
	{"gorm.io", []string{"services/order-api/internal/store"}},
	{"github.com/glebarez/sqlite", []string{"services/order-api/internal/store"}},
	{"github.com/spf13/viper", []string{"pkg/config"}},
	{"github.com/twmb/franz-go", []string{"deploy/local", "pkg/kafka"}},
	{"github.com/alicebob/miniredis", []string{"deploy/local", "services/order-api"}},
}

func dependencies(h House) []string {
	return h.each(func(f File, imported string) string {
		for _, home := range homes {
			if within(imported, home.dependency) && !slices.ContainsFunc(home.rooms, f.In) && !f.In("test/bench") {
				return "it lives only in " + strings.Join(home.rooms, " and ")
			}
		}
		return ""
	})
}

// rules are pure: what they import is all they can depend on. Their tests may use a library.
func rules(rooms []string) func(House) []string {
	return func(h House) []string {
		var found []string
		for _, room := range rooms {
			if !slices.ContainsFunc(h.Files, func(f File) bool { return f.Room() == room }) {
				found = append(found, room+" holds rules, but there is no such room")
			}
		}
		return append(found, h.each(func(f File, imported string) string {
			first, _, _ := strings.Cut(imported, "/")
			if slices.Contains(rooms, f.Room()) && !f.Test() && strings.Contains(first, ".") {
				return "rules know the standard library only"
			}
			return ""
		})...)
	}
}

// importers counts the rooms that import each room of pkg. A room that serves tests is judged by tests.
func importers(h House) []string {
	users := map[string]map[string]bool{}
	for _, f := range h.Files {
		if f.In("pkg") && !f.Test() && users[f.Room()] == nil {
			users[f.Room()] = map[string]bool{}
		}
	}
	for _, f := range h.Files {
		for _, imported := range f.Imports {
			room, ours := strings.CutPrefix(imported, Module)
			if ours && users[room] != nil && room != f.Room() && (!f.Test() || room == "pkg/servertest") {
				users[room][f.Room()] = true
			}
		}
	}
	var found []string
	for _, room := range slices.Sorted(maps.Keys(users)) {
		if len(users[room]) < 2 && !strings.Contains(room, "/internal/") {
			by := slices.Sorted(maps.Keys(users[room]))
			found = append(found, fmt.Sprintf("%s has %d importers %v: a shared room needs two", room, len(by), by))
		}
	}
	return found
}

// writesStatus finds SQL that changes the column status of orders, in an UPDATE or in the update arm of an INSERT.
var writesStatus = regexp.MustCompile(`(?is)(\bupdate\s+"?orders"?\b[^;]*?\bset\b|\binsert\s+into\s+"?orders"?\b.*\bdo\s+update\s+set\b)([^;]*?[\s,("])?status"?\s*=`)

// statuses finds writes of an order's status by SQL in strings, and by GORM's update calls in order-api.
func statuses(moves string) func(House) []string {
	return func(h House) []string {
		var found []string
		for _, f := range h.Files {
			if f.Test() || f.Path == moves || f.In("test") {
				continue
			}
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				text, isText := written(n)
				switch {
				case isText && writesStatus.MatchString(text), f.In("services/order-api") && gormWritesStatus(n):
					found = append(found, h.where(n)+": only "+moves+" may write an order's status")
				}
				return !isText
			})
		}
		return found
	}
}

// written is the text of a string literal or of a sum of them; what is not known stands as a question mark.
func written(n ast.Node) (text string, ok bool) {
	switch n := n.(type) {
	case *ast.BasicLit:
		if n.Kind == token.STRING {
			text, err := strconv.Unquote(n.Value)
			return text, err == nil
		}
	case *ast.BinaryExpr:
		left, a := written(n.X)
		right, b := written(n.Y)
		if n.Op == token.ADD && (a || b) {
			return orUnknown(left, a) + orUnknown(right, b), true
		}
	}
	return "", false
}

func orUnknown(text string, known bool) string {
	if !known {
		return "?"
	}
	return text
}

// gormWritesStatus finds Update("status", …) and Updates(map{"status": …}).
func gormWritesStatus(n ast.Node) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) == 0 {
		return false
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Update", "UpdateColumn", "Updates", "UpdateColumns"}, method.Sel.Name) {
		return false
	}
	if fields, ok := call.Args[0].(*ast.CompositeLit); ok {
		return slices.ContainsFunc(fields.Elts, func(e ast.Expr) bool {
			pair, ok := e.(*ast.KeyValueExpr)
			return ok && namesStatus(pair.Key)
		})
	}
	return namesStatus(call.Args[0])
}

func namesStatus(e ast.Expr) bool {
	text, ok := written(e)
	return ok && strings.EqualFold(text, "status")
}

// mainLines is how long a main may be: it names its service and nothing more.
const mainLines = 20

func mains(h House) []string {
	var found []string
	for _, f := range h.Files {
		if f.syntax.Name.Name == "main" && path.Base(f.Path) == "main.go" && f.Lines > mainLines {
			found = append(found, fmt.Sprintf("%s has %d lines: a main has at most %d", f.Path, f.Lines, mainLines))
		}
	}
	return found
}

// skips finds tests that would rather not run: a test without its servers fails and says how to start them.
func skips(h House) []string {
	var found []string
	for _, f := range h.Files {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, method.Sel.Name) {
				return true
			}
			if receiver, ok := method.X.(*ast.Ident); ok && slices.Contains([]string{"t", "tb", "b", "f"}, receiver.Name) {
				found = append(found, h.where(n)+": no test is skipped")
			}
			return true
		})
	}
	return found
}
