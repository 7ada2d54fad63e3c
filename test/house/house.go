// Package house reads the source of the whole suite and says where it breaks the rules of the house: who may import
// whom, where a dependency lives, who may move an order.
//
// It parses every file itself, whatever its build tags, so that nothing hides behind a tag, and so that a small tree of
// fixtures is judged by the same code as the suite.
package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Module is what every import path of the suite begins with.
const Module = "github.com/floodgate-dev/floodgate/"

// House is the suite's source.
type House struct {
	Files []File
	fset  *token.FileSet
}

// File is one Go file.
type File struct {
	Path    string // below the root, with slashes
	Imports []string
	Lines   int
	syntax  *ast.File
}

// Room is the file's package as a path below the root.
func (f File) Room() string { return path.Dir(f.Path) }

// Test says that the file is built for tests only.
func (f File) Test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// In says that the file lies in dir or below it.
func (f File) In(dir string) bool { return within(f.Path, dir) }

func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// Read parses every Go file below root. Fixtures, hidden folders and built things are not the house's.
func Read(root string) (House, error) {
	h := House{fset: token.NewFileSet()}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() {
			if name != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "bin" || base == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(base) != ".go" {
			return nil
		}
		return h.add(root, name)
	})
	return h, err
}

func (h *House) add(root, name string) error {
	rel, err := filepath.Rel(root, name)
	if err != nil {
		return err
	}
	source, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	syntax, err := parser.ParseFile(h.fset, filepath.ToSlash(rel), source, 0)
	if err != nil {
		return fmt.Errorf("read the house: %w", err)
	}
	f := File{Path: filepath.ToSlash(rel), Lines: strings.Count(string(source), "\n"), syntax: syntax}
	for _, spec := range syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return fmt.Errorf("read the house: %s: %w", rel, err)
		}
		f.Imports = append(f.Imports, imported)
	}
	h.Files = append(h.Files, f)
	return nil
}

// where is a node's place as an editor takes it.
func (h House) where(n ast.Node) string {
	p := h.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// Func tells whether the file at p declares a function or method of that name, and over how many lines.
func (h House) Func(p, name string) (lines int, stands bool) {
	for _, f := range h.Files {
		if f.Path != p {
			continue
		}
		for _, d := range f.syntax.Decls {
			if fn, is := d.(*ast.FuncDecl); is && fn.Name.Name == name {
				return h.fset.Position(fn.End()).Line - h.fset.Position(fn.Pos()).Line + 1, true
			}
		}
	}
	return 0, false
}
