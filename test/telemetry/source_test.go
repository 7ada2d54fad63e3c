package telemetry_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// logging says of each method of a logger where its message stands, and its level; Log and LogAttrs are told theirs.
var logging = map[string]struct {
	message int
	level   string
}{
	"Debug": {0, "Debug"}, "Info": {0, "Info"}, "Warn": {0, "Warn"}, "Error": {0, "Error"},
	"DebugContext": {1, "Debug"}, "InfoContext": {1, "Info"}, "WarnContext": {1, "Warn"}, "ErrorContext": {1, "Error"},
	"Log": {2, ""}, "LogAttrs": {2, ""},
}

// usual are the fields that lines have of their own accord, and those that a part of a service gives all its lines.
type usual map[string]bool

// written is an event of the log as the source writes it.
type written struct {
	levels, rooms, fields map[string]bool
}

// row is the event as docs/telemetry.md lists it, up to what it means.
func (w *written) row(name string) string {
	return fmt.Sprintf("| `%s` | %s | %s | %s |", name, strings.Join(slices.Sorted(maps.Keys(w.levels)), ", "),
		listed(w.fields), listed(w.rooms))
}

func listed(names map[string]bool) string {
	if len(names) == 0 {
		return "–"
	}
	return "`" + strings.Join(slices.Sorted(maps.Keys(names)), "` `") + "`"
}

// eventsInSource are all events that the services' source can write to the log. A message that is no literal is an error: nobody
// could find it on the page.
func eventsInSource(t *testing.T) (map[string]*written, usual) {
	t.Helper()
	all, given := map[string]*written{}, usual{"time": true, "level": true, "msg": true, "trace_id": true, "span_id": true}
	for _, root := range []string{"pkg", "services", "deploy/local"} {
		err := filepath.WalkDir("../../"+root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() && entry.Name() == "servertest" {
				return errOr(err, fs.SkipDir)
			}
			if entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			return eventsOf(t, path, all, given)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all, given
}

func errOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

func eventsOf(t *testing.T, path string, all map[string]*written, given usual) error {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, 0)
	if err != nil {
		return err
	}
	room := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../../")
	for _, of := range file.Decls {
		ast.Inspect(of, func(n ast.Node) bool {
			call, is := n.(*ast.CallExpr)
			if !is {
				return true
			}
			message, level, is := logs(call)
			if !is {
				given.with(call)
				return true
			}
			name, is := text(message)
			if !is {
				t.Errorf("%s: the log's event is no literal, so docs/telemetry.md cannot list it", files.Position(call.Pos()))
				return true
			}
			if all[name] == nil {
				all[name] = &written{map[string]bool{}, map[string]bool{}, map[string]bool{}}
			}
			all[name].rooms[room] = true
			levels(level, of, all[name].levels)
			fieldsOf(call, of, all[name].fields)
			return true
		})
	}
	return nil
}

// logs says whether a call writes to the log: a method of what is called log, or Log, or the like.
func logs(call *ast.CallExpr) (message, level ast.Expr, is bool) {
	method, is := call.Fun.(*ast.SelectorExpr)
	if !is {
		return nil, nil, false
	}
	how, is := logging[method.Sel.Name]
	if !is || len(call.Args) <= how.message {
		return nil, nil, false
	}
	certain := strings.HasSuffix(method.Sel.Name, "Context") || method.Sel.Name == "LogAttrs"
	if !certain && !strings.EqualFold(last(method.X), "log") {
		return nil, nil, false
	}
	if how.level == "" {
		return call.Args[how.message], call.Args[1], true
	}
	return call.Args[how.message], ast.NewIdent("Level" + how.level), true
}

// levels adds a level, or where it is a variable those that the function around it speaks of.
func levels(of ast.Expr, within ast.Node, into map[string]bool) {
	if name, is := strings.CutPrefix(last(of), "Level"); is {
		into[strings.ToLower(name)] = true
		return
	}
	ast.Inspect(within, func(n ast.Node) bool {
		if e, is := n.(*ast.SelectorExpr); is && last(e.X) == "slog" && strings.HasPrefix(e.Sel.Name, "Level") {
			levels(e, within, into)
		}
		return true
	})
}

// with adds the fields that a logger is given for all its lines.
func (u usual) with(call *ast.CallExpr) {
	method, is := call.Fun.(*ast.SelectorExpr)
	if !is || method.Sel.Name != "With" {
		return
	}
	for i := 0; i < len(call.Args); i += 2 {
		if name, is := text(call.Args[i]); is {
			u[name] = true
		}
	}
}

// last is the last name of a chain: log of p.relay.Log, or of p.log.With(…).
func last(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.CallExpr:
		if of, is := e.Fun.(*ast.SelectorExpr); is && strings.HasPrefix(of.Sel.Name, "With") {
			return last(of.X)
		}
	}
	return ""
}

// fieldsOf gathers the names of a call's fields. Fields that were gathered before are those made in the same function.
func fieldsOf(call *ast.CallExpr, within ast.Node, into map[string]bool) {
	method, _ := call.Fun.(*ast.SelectorExpr)
	args := call.Args[logging[method.Sel.Name].message+1:]
	for i := 0; i < len(args); i++ {
		if name, is := text(args[i]); is {
			into[name] = true
			i++ // its value
		}
	}
	attributes(call, into)
	if call.Ellipsis.IsValid() {
		attributes(within, into)
	}
}

func attributes(within ast.Node, into map[string]bool) {
	ast.Inspect(within, func(n ast.Node) bool {
		call, is := n.(*ast.CallExpr)
		if !is {
			return true
		}
		if of, is := call.Fun.(*ast.SelectorExpr); is && last(of.X) == "slog" && len(call.Args) > 1 {
			if name, is := text(call.Args[0]); is {
				into[name] = true
			}
		}
		return true
	})
}

func text(e ast.Expr) (string, bool) {
	literal, is := e.(*ast.BasicLit)
	if !is || literal.Kind != token.STRING {
		return "", false
	}
	value, err := strconv.Unquote(literal.Value)
	return value, err == nil
}
