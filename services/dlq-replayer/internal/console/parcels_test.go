package console

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

// upload is a browser's form with a file; without lines it has none.
func (s site) upload(role, reason, lines string) *httptest.ResponseRecorder {
	s.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	must(s.TB, form.WriteField("reason", reason))
	if lines != "" {
		file, err := form.CreateFormFile("letters", "letters.ndjson")
		must(s.TB, err)
		_, err = file.Write([]byte(lines))
		must(s.TB, err)
	}
	must(s.TB, form.Close())
	r := httptest.NewRequestWithContext(s.Context(), http.MethodPost, "/letters/import", &body)
	r.Header.Set("Content-Type", form.FormDataContentType())
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.AddCookie(&http.Cookie{Name: cookie, Value: s.token(role)})
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// What the console exports it imports elsewhere; a viewer may do neither, and a refusal is a page and no file.
func TestLettersGoElsewhereThroughTheConsole(t *testing.T) {
	t.Parallel()
	s := open(t)
	w := s.ask("GET", "/letters/export?group=points&limit=1", "operator", nil)
	lines := w.Body.String()
	if w.Code != http.StatusOK || strings.Count(lines, "\n") != 2 || !strings.Contains(w.Header().Get("Content-Disposition"), "letters.ndjson") {
		t.Fatalf("exported %d %v: %s", w.Code, w.Header(), lines)
	}
	for role, want := range map[string]int{"": http.StatusSeeOther, "viewer": http.StatusForbidden, "shop": http.StatusForbidden} {
		if w := s.ask("GET", "/letters/export", role, nil); w.Code != want || w.Header().Get("Content-Disposition") != "" {
			t.Errorf("an export as %q: %d %v", role, w.Code, w.Header())
		}
	}
	if w := s.ask("GET", "/letters/export?grop=points", "operator", nil); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("an export by no filter: %d", w.Code)
	}

	to := openOn(t, servertest.SQLite(t))
	for _, refused := range []struct {
		role, reason, lines string
		want                int
	}{
		{"viewer", "moved", lines, http.StatusForbidden},
		{"operator", "", lines, http.StatusUnprocessableEntity},
		{"operator", "moved", "", http.StatusUnprocessableEntity},
		{"operator", "moved", "no letter\n", http.StatusUnprocessableEntity},
	} {
		if w := to.upload(refused.role, refused.reason, refused.lines); w.Code != refused.want {
			t.Errorf("imported %q as %s: %d, want %d\n%s", refused.reason, refused.role, w.Code, refused.want, w.Body)
		}
	}
	if w := to.upload("operator", "moved", lines); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "letters<b>2</b>") {
		t.Errorf("imported: %d %s", w.Code, w.Body)
	}
	if again := to.ask("GET", "/letters/export", "operator", nil).Body.String(); strings.Count(again, "\n") != 2 {
		t.Errorf("exported again: %s", again)
	}
}

// A patch mends all that a form is about, says what it refused, and offers the rehearsal of the same letters.
func TestAPatchMendsASelectionInTheConsole(t *testing.T) {
	t.Parallel()
	s := open(t)
	form := url.Values{"filter.group": {"points"}, "reason": {"the user was empty"}, "patch": {`[{"op":"replace","path":"/order/userId","value":"u-1"}]`}}
	if w := s.ask("POST", "/letters/patch", "viewer", form); w.Code != http.StatusForbidden {
		t.Errorf("a viewer patched: %d", w.Code)
	}
	w := s.ask("POST", "/letters/patch", "operator", form)
	shown := w.Body.String()
	if w.Code != http.StatusOK || !strings.Contains(shown, "mended<b>1</b>") || !strings.Contains(shown, "refused<b>1</b>") || !strings.Contains(shown, `name="filter.group" value="points"`) || strings.Contains(shown, evil) {
		t.Errorf("patched: %d %s", w.Code, shown)
	}
	named := url.Values{"id": {"l"}, "reason": {"again"}, "patch": form["patch"]}
	if w := s.ask("POST", "/letters/patch", "operator", named); !strings.Contains(w.Body.String(), "unchanged<b>1</b>") || !strings.Contains(w.Body.String(), `name="id" value="l "`) {
		t.Errorf("patched again: %d %s", w.Code, w.Body)
	}
	for _, wrong := range []string{"", "{", `{"op":"replace"}`} {
		named.Set("patch", wrong)
		if w := s.ask("POST", "/letters/patch", "operator", named); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("patched with %q: %d", wrong, w.Code)
		}
	}
	l, _, err := s.Letter(t.Context(), "l")
	must(t, err)
	if l.Revision != 1 {
		t.Errorf("the letter was mended %d times", l.Revision)
	}
}
