package httpapi

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"go.yaml.in/yaml/v3"
)

// described is as much of openapi.yaml as this test reads.
type described struct {
	Paths      map[string]map[string]any `yaml:"paths"`
	Components struct {
		Schemas struct {
			Problem struct {
				Properties struct {
					Code struct {
						Enum []string `yaml:"enum"`
					} `yaml:"code"`
				} `yaml:"properties"`
			} `yaml:"Problem"`
		} `yaml:"schemas"`
	} `yaml:"components"`
}

// TestTheTextIsWhole compares openapi.yaml with what is served: every route both ways, every code both ways.
func TestTheTextIsWhole(t *testing.T) {
	t.Parallel()
	var text described
	must(t, yaml.Unmarshal(openapi, &text))
	var told []string
	for path, methods := range text.Paths {
		for method := range methods {
			if method != "parameters" {
				told = append(told, strings.ToUpper(method)+" "+path)
			}
		}
	}
	w := setup(t)
	engine, ok := w.server.handler.(*gin.Engine)
	if !ok {
		t.Fatalf("the handler is a %T", w.server.handler)
	}
	var served []string
	for _, r := range engine.Routes() {
		served = append(served, r.Method+" "+regexp.MustCompile(`:(\w+)`).ReplaceAllString(r.Path, "{$1}"))
	}
	slices.Sort(told)
	slices.Sort(served)
	if !slices.Equal(told, served) {
		t.Errorf("openapi.yaml tells of\n%s\nserved is\n%s", strings.Join(told, "\n"), strings.Join(served, "\n"))
	}
	codes := slices.Sorted(slices.Values(text.Components.Schemas.Problem.Properties.Code.Enum))
	if !slices.Equal(codes, codesOf()) {
		t.Errorf("openapi.yaml tells of the codes\n%v\nthere are\n%v", codes, codesOf())
	}
	if a := w.do("GET", "/openapi.yaml", "", ""); a.Status != 200 || a.Body != string(openapi) {
		t.Errorf("/openapi.yaml answers %d with %d bytes", a.Status, len(a.Body))
	}
}
