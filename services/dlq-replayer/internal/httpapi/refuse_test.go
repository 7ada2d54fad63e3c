package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

// A database that takes no NUL must not be what says so, and a slip in a parameter's name must not seem to filter.
func TestOddAddressesAreRefused(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		s := openOn(t, db, sample(t, "e-1"))
		for _, c := range []struct {
			method, path, body string
			status             int
		}{
			{"GET", "/api/v1/letters/%00", "", http.StatusNotFound},
			{"GET", "/api/v1/letters/%ff", "", http.StatusNotFound},
			{"PATCH", "/api/v1/causes/%00", `{"note":"x"}`, http.StatusNotFound},
			{"POST", "/api/v1/letters/%ff/edit", `{"value":{},"reason":"x"}`, http.StatusNotFound},
			{"GET", "/api/v1/jobs/%00", "", http.StatusNotFound},
			{"POST", "/api/v1/jobs/%ff/pause", "", http.StatusNotFound},
			{"GET", "/api/v1/jobs?cursor=%00", "", http.StatusUnprocessableEntity},
			{"GET", "/api/v1/jobs?cursor=%ff", "", http.StatusUnprocessableEntity},
			{"POST", "/api/v1/letters/import?reason=%00", "", http.StatusUnprocessableEntity},
			{"POST", "/api/v1/letters/import?reason=%ff", "", http.StatusUnprocessableEntity},
			{"GET", "/api/v1/jobs?stat=running", "", http.StatusUnprocessableEntity},
			{"GET", "/api/v1/jobs/some/letters?outcome=fine", "", http.StatusUnprocessableEntity},
			{"GET", "/api/v1/jobs/some/letters?outcom=sent", "", http.StatusUnprocessableEntity},
			{"GET", "/api/v1/causes?al=true", "", http.StatusUnprocessableEntity},
			{"POST", "/api/v1/letters/import?reason=", "", http.StatusUnprocessableEntity},
			{"POST", "/api/v1/letters/import?reason=+", "", http.StatusUnprocessableEntity},
			{"POST", "/api/v1/letters/import?why=moved", "", http.StatusUnprocessableEntity},
			{"GET", "/api/v1/audit?who=me", "", http.StatusUnprocessableEntity},
			{"GET", "/api/v1/letters/export?limit=3", "", http.StatusUnprocessableEntity},
		} {
			if w := do(t, s.Handler, c.method, c.path, c.body, roleOperator); w.Code != c.status {
				t.Errorf("%s %s answers %d and not %d: %s", c.method, c.path, w.Code, c.status, w.Body)
			}
		}
	})
}

func TestARestoreFindsWhatWasSetAside(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		s := openOn(t, db, sample(t, "e-1"), sample(t, "e-2"), sample(t, "e-3"))
		decide := func(fate, selection, want string) {
			t.Helper()
			w := do(t, s.Handler, "POST", "/api/v1/letters/"+fate, `{"reason":"a try","selection":`+selection+`}`, roleOperator)
			if got := strings.TrimSpace(w.Body.String()); got != want {
				t.Errorf("%s %s answers %s and not %s", fate, selection, got, want)
			}
		}
		decide("discard", `{"ids":["e-1"]}`, `{"letters":1}`)
		decide("quarantine", `{"ids":["e-2"]}`, `{"letters":1}`)
		decide("discard", `{"filter":{"group":"points","state":"dead"}}`, `{"letters":1}`)
		decide("restore", `{"filter":{"group":"points"}}`, `{"letters":3}`)
		decide("quarantine", `{"ids":["e-2"]}`, `{"letters":1}`)
		decide("discard", `{"filter":{"group":"points"}}`, `{"letters":2}`) // those that are dead
		decide("restore", `{"filter":{"state":"quarantined"}}`, `{"letters":1}`)
	})
}

func TestARefusedImportSaysWhatIsStored(t *testing.T) {
	t.Parallel()
	line := `{"group":"points","eventId":"e-ID","topic":"order_created","failures":[{"errorKind":"odd","error":"x"},{"errorKind":"odd","error":"y"}]}`
	var lines strings.Builder
	for i := range 300 { // two deaths each: stored by 250
		lines.WriteString(strings.Replace(line, "ID", strconv.Itoa(i), 1) + "\n")
	}
	lines.WriteString("no letter\n")
	w := do(t, open(t).Handler, "POST", "/api/v1/letters/import?reason=moved", lines.String(), roleOperator)
	if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "; 250 letters before it are stored") {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}
