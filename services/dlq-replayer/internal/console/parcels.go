package console

import (
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
)

// selection is what a form is about: the letters that it names, or those that its filters find.
func selection(r *http.Request) map[string]any {
	if ids := strings.Fields(r.PostFormValue("id")); len(ids) > 0 {
		return map[string]any{"ids": ids}
	}
	filter := map[string]string{}
	for name, values := range r.PostForm {
		if field, is := strings.CutPrefix(name, "filter."); is && values[0] != "" {
			filter[field] = values[0]
		}
	}
	return map[string]any{"filter": filter}
}

// patch mends the form's selection and says of how many letters that came to what.
func (c console) patch(w http.ResponseWriter, r *http.Request) {
	in := map[string]any{"selection": selection(r), "patch": json.RawMessage(r.PostFormValue("patch")), "reason": r.PostFormValue("reason")}
	if !json.Valid([]byte(r.PostFormValue("patch"))) {
		c.fail(w, r, problem{http.StatusUnprocessableEntity, "The patch is no JSON."})
		return
	}
	done, err := c.call(r, http.MethodPost, "/letters/patch", in)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	c.render(w, r, http.StatusOK, "patched", view{Data: []any{done, in["selection"]}})
}

// export sends what the API exports as a file. It asks for one letter first: a refusal is a page, and no file.
func (c console) export(w http.ResponseWriter, r *http.Request) {
	one := settled(r)
	one.Set("limit", "1")
	if _, err := c.call(r, http.MethodGet, "/letters?"+one.Encode(), nil); err != nil {
		c.fail(w, r, err)
		return
	}
	if !c.filled(r, "letters", view{}).Operator {
		c.fail(w, r, problem{http.StatusForbidden, "An export shows every byte: it takes the role operator."})
		return
	}
	all := settled(r)
	for _, page := range []string{"limit", "cursor"} {
		all.Del(page)
	}
	ask, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "/api/v1/letters/export?"+all.Encode(), http.NoBody)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	ask.Header.Set("Authorization", "Bearer "+token(r))
	w.Header().Set("Content-Disposition", `attachment; filename="letters.ndjson"`)
	c.API.ServeHTTP(w, ask)
}

// errNoFile is told to who sends the form without a file.
var errNoFile = problem{http.StatusUnprocessableEntity, "Choose a file of letters, such as an export gives, and say why they come."}

// imports stores the letters of a file, which is read as it arrives: why comes first in the form.
func (c console) imports(w http.ResponseWriter, r *http.Request) {
	reason, file, err := parts(r)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	answer := through{recorder{header: http.Header{}, status: http.StatusOK}, w}
	done, err := c.answered(&answer, &answer.recorder, r, token(r), http.MethodPost, "/letters/import?"+url.Values{"reason": {reason}}.Encode(), file)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	c.render(w, r, http.StatusOK, "imported", view{Data: []any{done}})
}

// parts are the form's reason and its file.
func parts(r *http.Request) (reason string, file io.Reader, err error) {
	form, err := r.MultipartReader()
	if err != nil {
		return "", nil, errNoFile
	}
	for {
		part, err := form.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			return "", nil, errNoFile
		case err != nil:
			return "", nil, problem{http.StatusUnprocessableEntity, "The form was cut off: send it again."}
		case part.FormName() == "letters":
			return reason, part, nil
		case part.FormName() == "reason":
			if reason, err = word(part); err != nil {
				return "", nil, err
			}
		}
	}
}

// word is a short field of a form.
func word(part *multipart.Part) (string, error) {
	text, err := io.ReadAll(io.LimitReader(part, 16<<10))
	if err != nil {
		return "", problem{http.StatusUnprocessableEntity, "The form was cut off: send it again."}
	}
	return string(text), nil
}

// through is an answer kept, and a connection whose deadlines the API may still move.
type through struct {
	recorder

	connection http.ResponseWriter
}

// Unwrap is for http.ResponseController.
func (t *through) Unwrap() http.ResponseWriter { return t.connection }
