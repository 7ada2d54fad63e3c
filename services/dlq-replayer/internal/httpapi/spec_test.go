package httpapi

import (
	"bufio"
	"encoding/json"
	stderrors "errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/errors"
	"github.com/pb33f/libopenapi-validator/schema_validation"
	"github.com/pb33f/libopenapi/datamodel/high/base"
	"go.yaml.in/yaml/v3"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/replay"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/store"
)

// spec is openapi.yaml, read once, and what a line of an export is by it.
var spec = sync.OnceValues(func() (text struct {
	validator.Validator

	parcel *base.Schema
}, err error,
) {
	document, err := libopenapi.NewDocument(openAPI)
	if err != nil {
		return text, err
	}
	v, errs := validator.NewValidator(document)
	if len(errs) > 0 {
		return text, errs[0]
	}
	model, err := document.BuildV3Model()
	if err != nil {
		return text, err
	}
	text.Validator, text.parcel = v, model.Model.Components.Schemas.GetOrZero("Parcel").Schema()
	return text, nil
})

// reading is held by who compares with the text: its schemas are rendered into themselves.
var reading sync.Mutex

const ndjson = "application/x-ndjson"

// conforms fails the test if openapi.yaml does not know such an answer to such a request, or would refuse a request that
// was answered well.
func conforms(t *testing.T, ask *http.Request, got *http.Response) {
	t.Helper()
	text, err := spec()
	must(t, err)
	reading.Lock()
	defer reading.Unlock()
	complain := func(complaints []*errors.ValidationError) {
		for _, c := range complaints {
			t.Errorf("%s %s answered %d: %s: %s %v", ask.Method, ask.URL.Path, got.StatusCode, c.Message, c.Reason, c.SchemaValidationErrors)
		}
	}
	// The validator takes one value for a body: lines are read here.
	lines := func(body io.Reader) {
		for all := bufio.NewScanner(body); all.Scan(); {
			if ok, complaints := schema_validation.NewSchemaValidator().ValidateSchemaBytes(text.parcel, all.Bytes()); !ok {
				complain(complaints)
			}
		}
	}
	if ask.Header.Get("Content-Type") == ndjson && got.StatusCode == http.StatusOK {
		lines(ask.Body)
	} else if got.StatusCode < http.StatusBadRequest {
		_, complaints := text.ValidateHttpRequest(ask)
		complain(complaints)
	}
	if got.Header.Get("Content-Type") == ndjson {
		lines(got.Body)
		return
	}
	_, complaints := text.ValidateHttpResponse(ask, got)
	complain(complaints)
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

// TestTheTextKnowsEveryCode compares the codes that openapi.yaml tells of with those that errors are answered with, both ways.
func TestTheTextKnowsEveryCode(t *testing.T) {
	t.Parallel()
	var answered []string
	for _, err := range []error{
		auth.ErrUnauthenticated, auth.ErrKeysAway, errForbidden, store.ErrNotFound, store.ErrCursor, store.ErrBusy, store.ErrNothing, store.ErrTooMany,
		store.ErrAmbigue, replay.ErrIllegal, &http.MaxBytesError{}, invalid("odd"), stderrors.New("unforeseen"),
	} {
		w := httptest.NewRecorder()
		server{Config{Log: slog.New(slog.DiscardHandler)}}.fail(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), err)
		var p problem
		must(t, json.Unmarshal(w.Body.Bytes(), &p))
		answered = append(answered, p.Code)
	}
	var text struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Enum []string `yaml:"enum"`
				} `yaml:"properties"`
			} `yaml:"schemas"`
		} `yaml:"components"`
	}
	must(t, yaml.Unmarshal(openAPI, &text))
	told := text.Components.Schemas["Problem"].Properties["code"].Enum
	slices.Sort(answered)
	slices.Sort(told)
	if answered = slices.Compact(answered); !slices.Equal(told, answered) {
		t.Errorf("openapi.yaml tells of %v; answered are %v", told, answered)
	}
}
