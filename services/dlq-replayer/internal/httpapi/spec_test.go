package httpapi

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"go.yaml.in/yaml/v3"
)

// spec is openapi.yaml, read once.
var spec = sync.OnceValues(func() (validator.Validator, error) {
	document, err := libopenapi.NewDocument(openAPI)
	if err != nil {
		return nil, err
	}
	v, errs := validator.NewValidator(document)
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return v, nil
})

// conforms fails the test if openapi.yaml does not know such an answer to such a request.
func conforms(t *testing.T, ask *http.Request, got *http.Response) {
	t.Helper()
	v, err := spec()
	must(t, err)
	if got.Header.Get("Content-Type") == "application/x-ndjson" {
		return // the validator takes one value for a body; TestWhatIsExportedIsImportedWhole reads the lines
	}
	if ok, complaints := v.ValidateHttpResponse(ask, got); !ok {
		for _, c := range complaints {
			t.Errorf("%s %s answered %d: %s: %s %v", ask.Method, ask.URL.Path, got.StatusCode, c.Message, c.Reason, c.SchemaValidationErrors)
		}
	}
}

// TestTheTextIsWhole compares openapi.yaml with what is served, both ways.
func TestTheTextIsWhole(t *testing.T) {
	t.Parallel()
	v, err := spec()
	must(t, err)
	if ok, complaints := v.ValidateDocument(); !ok {
		for _, c := range complaints {
			t.Errorf("openapi.yaml: %s %s %v", c.Message, c.Reason, c.SchemaValidationErrors)
		}
	}
	var text struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	must(t, yaml.Unmarshal(openAPI, &text))
	var told []string
	for path, methods := range text.Paths {
		for method := range methods {
			told = append(told, strings.ToUpper(method)+" "+path)
		}
	}
	served := []string{"GET /openapi.yaml"}
	for _, route := range (server{}).routes() {
		served = append(served, route.pattern)
	}
	slices.Sort(told)
	slices.Sort(served)
	if !slices.Equal(told, served) {
		t.Errorf("openapi.yaml tells of\n%s\nserved is\n%s", strings.Join(told, "\n"), strings.Join(served, "\n"))
	}
	w := httptest.NewRecorder()
	open(t).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/openapi.yaml", nil))
	if w.Code != http.StatusOK || w.Body.String() != string(openAPI) {
		t.Errorf("/openapi.yaml answers %d with %d bytes", w.Code, w.Body.Len())
	}
}
