// Package console is dlq-replayer's web pages. It is a client of the API like any other: every page and every button is
// one or two calls of it with the token of whoever is signed in, so that roles, masking and the audit are the API's alone.
//
// Pages are rendered here and work without a script; with one they follow what happens. They load nothing from elsewhere.
package console

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/live"
)

//go:embed pages/*.html assets/*
var files embed.FS

// Config is what the console stands on.
type Config struct {
	API      http.Handler
	Verifier interface {
		Verify(ctx context.Context, token string) (auth.Caller, error)
	}
	Log *slog.Logger
}

type console struct {
	Config
	pages map[string]*template.Template
}

// cookie holds the token of whoever is signed in. Scripts cannot read it, and other sites cannot make a browser send it.
const cookie = "dlq-replayer"

// New is the console, and the API under its own addresses.
func New(cfg Config) http.Handler {
	c := console{cfg, parse()}
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", c.page("causes", func(r *http.Request) []string { return []string{"/causes?all=" + flag(r, "all")} }))
	pages.HandleFunc("GET /letters", c.page("letters", func(r *http.Request) []string { return []string{"/letters?" + query(r)} }))
	pages.HandleFunc("GET /letters/export", c.export)
	pages.HandleFunc("POST /letters/import", c.imports)
	pages.HandleFunc("POST /letters/patch", c.patch)
	pages.HandleFunc("GET /letters/{id}", c.page("letter", func(r *http.Request) []string { return []string{"/letters/" + seg(r)} }))
	pages.HandleFunc("GET /jobs", c.page("jobs", func(r *http.Request) []string { return []string{"/jobs?" + query(r)} }))
	pages.HandleFunc("GET /jobs/new", c.newJob)
	pages.HandleFunc("GET /jobs/{id}", c.page("job", func(r *http.Request) []string {
		return []string{"/jobs/" + seg(r), "/jobs/" + seg(r) + "/letters?" + query(r)}
	}))
	pages.HandleFunc("GET /audit", c.page("audit", func(r *http.Request) []string { return []string{"/audit?" + query(r), "/audit/verify"} }))
	pages.HandleFunc("GET /login", c.login)
	pages.HandleFunc("POST /login", c.signIn)
	pages.HandleFunc("POST /logout", c.signOut)
	pages.HandleFunc("POST /causes/{id}", c.noteCause)
	pages.HandleFunc("POST /letters/{verb}", c.decide)
	pages.HandleFunc("POST /letters/{id}/{verb}", c.mend)
	pages.HandleFunc("POST /jobs", c.start)
	pages.HandleFunc("POST /jobs/{id}/{verb}", c.act)
	pages.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c.render(w, r, http.StatusNotFound, "error", view{Problem: "There is no page here."})
	})

	mux := http.NewServeMux()
	mux.Handle("/api/", cfg.API)
	mux.Handle("GET /openapi.yaml", cfg.API)
	mux.Handle("GET /assets/", cached(http.FileServerFS(files)))
	mux.Handle("/", guarded(pages))
	return mux
}

// guarded lets pages load only what this server sends, be in no frame, and be posted to from here only.
func guarded(next http.Handler) http.Handler {
	next = http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if r.URL.Path != "/letters/import" { // a file of any length is read line by line
			r.Body = http.MaxBytesReader(w, r.Body, 4<<20)
		}
		next.ServeHTTP(w, r)
	})
}

func cached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=300")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

func seg(r *http.Request) string { return url.PathEscape(r.PathValue("id")) }

func flag(r *http.Request, name string) string {
	if r.URL.Query().Get(name) == "true" {
		return "true"
	}
	return "false"
}

// query is the page's own address without what is only the console's, and without fields of a form that were left empty.
func query(r *http.Request) string {
	return settled(r).Encode()
}

func settled(r *http.Request) url.Values {
	values := url.Values{}
	for name, all := range r.URL.Query() {
		if value := all[len(all)-1]; value != "" && !slices.Contains([]string{"live", "id", "chosen", "reason"}, name) {
			values.Set(name, value)
		}
	}
	return values
}

// limited asks for no more letters than the form of a job shows.
func limited(r *http.Request) string {
	values := settled(r)
	values.Set("limit", "5")
	if values.Get("state") == "" {
		values.Set("state", "dead")
	}
	return values.Encode()
}

// view is what a page is made of: what the API answered, and who looks at it.
type view struct {
	Page     string
	Who      string
	Operator bool
	Data     []any // one for each call
	Query    map[string]string
	Path     string
	Live     bool
	Problem  string
}

// problem is a refusal of the API.
type problem struct {
	status int
	detail string
}

func (p problem) Error() string { return p.detail }

// call asks the API as whoever is signed in.
func (c console) call(r *http.Request, method, path string, in any) (out any, err error) {
	return c.callAs(r, token(r), method, path, in)
}

func (c console) callAs(r *http.Request, token, method, path string, in any) (out any, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	answer := recorder{header: http.Header{}, status: http.StatusOK}
	return c.answered(&answer, &answer, r, token, method, path, bytes.NewReader(body))
}

// answered is what the API says, and writes through w into answer.
func (c console) answered(w http.ResponseWriter, answer *recorder, r *http.Request, token, method, path string, body io.Reader) (out any, err error) {
	ask, err := http.NewRequestWithContext(r.Context(), method, "/api/v1"+path, body) // it never leaves this process
	if err != nil {
		return nil, problem{http.StatusNotFound, "There is no page here."}
	}
	ask.Header.Set("Authorization", "Bearer "+token)
	c.API.ServeHTTP(w, ask)
	d := json.NewDecoder(&answer.body)
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if answer.status >= http.StatusBadRequest {
		told, _ := out.(map[string]any)
		detail, _ := told["detail"].(string)
		return nil, problem{answer.status, detail}
	}
	return out, nil
}

// recorder keeps what the API answers.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
func (r *recorder) WriteHeader(status int)      { r.status = status }

func token(r *http.Request) string {
	if c, err := r.Cookie(cookie); err == nil {
		return c.Value
	}
	return ""
}

// page answers with the page called name, made of what the API answers to paths. With ?live=true it goes on sending the
// page's live part whenever that changes.
func (c console) page(name string, paths func(r *http.Request) []string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		load := func() (v view, err error) {
			for _, path := range paths(r) {
				data, err := c.call(r, http.MethodGet, path, nil)
				if err != nil {
					return v, err
				}
				v.Data = append(v.Data, data)
			}
			return v, nil
		}
		if r.URL.Query().Get("live") == "true" {
			live.Stream(w, r, time.Second, func() (event string, data []byte, more bool) {
				v, err := load()
				if err != nil {
					return "", nil, false
				}
				var out bytes.Buffer
				if err := c.pages[name].ExecuteTemplate(&out, "live", c.filled(r, name, v)); err != nil {
					c.Log.ErrorContext(r.Context(), "render", "page", name, "error", err)
					return "", nil, false
				}
				return "live", out.Bytes(), true
			})
			return
		}
		v, err := load()
		if err != nil {
			c.fail(w, r, err)
			return
		}
		c.render(w, r, http.StatusOK, name, v)
	}
}

// filled adds what every page knows.
func (c console) filled(r *http.Request, name string, v view) view {
	v.Page, v.Path, v.Query = name, r.URL.Path, map[string]string{}
	for key, values := range settled(r) {
		v.Query[key] = values[0]
	}
	if ids := r.URL.Query()["id"]; len(ids) > 0 {
		v.Query["id"] = strings.Join(ids, " ")
	}
	if who, err := c.Verifier.Verify(r.Context(), token(r)); err == nil {
		v.Who, v.Operator = who.Subject, who.Has("operator")
	}
	return v
}

func (c console) render(w http.ResponseWriter, r *http.Request, status int, name string, v view) {
	var out bytes.Buffer
	if err := c.pages[name].ExecuteTemplate(&out, "layout", c.filled(r, name, v)); err != nil {
		c.Log.ErrorContext(r.Context(), "render", "page", name, "error", err)
		http.Error(w, "this page could not be made; it was logged", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // the reader left
}

// fail shows a refusal. Who is not signed in is asked to do that first.
func (c console) fail(w http.ResponseWriter, r *http.Request, err error) {
	var refused problem
	switch {
	case errors.As(err, &refused) && refused.status == http.StatusUnauthorized && r.Method == http.MethodGet:
		http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
	case errors.As(err, &refused):
		c.render(w, r, refused.status, "error", view{Problem: refused.detail})
	default:
		c.Log.ErrorContext(r.Context(), "console", "path", r.URL.Path, "error", err)
		c.render(w, r, http.StatusInternalServerError, "error", view{Problem: "Something here is broken; it was logged."})
	}
}

func (c console) login(w http.ResponseWriter, r *http.Request) {
	c.render(w, r, http.StatusOK, "login", view{})
}

// session is the cookie that holds given for as long as the browser runs, or, where given is empty, takes it away. It is
// secure wherever the browser came by TLS; on loopback it may come without.
func session(r *http.Request, given string) *http.Cookie {
	c := &http.Cookie{ //nolint:gosec // Secure is set below where it can be
		Name: cookie, Value: given, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	}
	if given == "" {
		c.MaxAge = -1
	}
	return c
}

// signIn keeps a token that the API believes, for as long as it is good.
func (c console) signIn(w http.ResponseWriter, r *http.Request) {
	given := strings.TrimSpace(r.PostFormValue("token"))
	if _, err := c.callAs(r, given, http.MethodGet, "/causes", nil); err != nil {
		http.SetCookie(w, session(r, ""))
		r.Header.Del("Cookie")
		c.render(w, r, http.StatusUnauthorized, "login", view{Problem: "That token is not good here: it must be signed by the key that this service knows, be in time, and have the role viewer or operator."})
		return
	}
	http.SetCookie(w, session(r, given))
	next := r.PostFormValue("next")
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.Contains(next, `\`) {
		next = "/"
	}
	http.Redirect(w, r, next, http.StatusSeeOther) // it is an address of this server, see above
}

func (c console) signOut(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, session(r, ""))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// then goes to a page, unless the API refused.
func (c console) then(w http.ResponseWriter, r *http.Request, to string, err error) {
	if err != nil {
		c.fail(w, r, err)
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther) // each caller names a page of this server
}

func (c console) noteCause(w http.ResponseWriter, r *http.Request) {
	_, err := c.call(r, http.MethodPatch, "/causes/"+seg(r), map[string]any{"note": r.PostFormValue("note"), "muted": r.PostFormValue("muted") != ""})
	c.then(w, r, "/", err)
}

// mend edits one letter, brings back its original, or decides what becomes of it.
func (c console) mend(w http.ResponseWriter, r *http.Request) {
	reason := r.PostFormValue("reason")
	path, in := "/letters/"+seg(r)+"/"+url.PathEscape(r.PathValue("verb")), map[string]any{"reason": reason}
	switch r.PathValue("verb") {
	case "edit":
		if !json.Valid([]byte(r.PostFormValue("value"))) {
			c.fail(w, r, problem{http.StatusUnprocessableEntity, "The value is no JSON."})
			return
		}
		in["value"] = json.RawMessage(r.PostFormValue("value"))
	case "discard", "quarantine", "restore":
		path = "/letters/" + r.PathValue("verb")
		in["selection"] = map[string]any{"ids": []string{r.PathValue("id")}}
	}
	_, err := c.call(r, http.MethodPost, path, in)
	c.then(w, r, "/letters/"+seg(r), err)
}

var errNoneChosen = problem{http.StatusUnprocessableEntity, "No letter is chosen: go back and tick those that you mean."}

// decide decides what becomes of the letters that were chosen in the list, and goes back to it.
func (c console) decide(w http.ResponseWriter, r *http.Request) {
	reason := r.PostFormValue("reason") // it reads the form
	ids := r.PostForm["id"]
	if len(ids) == 0 {
		c.fail(w, r, errNoneChosen)
		return
	}
	_, err := c.call(r, http.MethodPost, "/letters/"+url.PathEscape(r.PathValue("verb")), map[string]any{
		"reason": reason, "selection": map[string]any{"ids": ids},
	})
	back := "/letters"
	if from, broken := url.Parse(r.Referer()); broken == nil && from.Path == "/letters" {
		back += "?" + from.Query().Encode()
	}
	c.then(w, r, back, err)
}

// newJob is the form of a job. Who meant to choose letters in the list and chose none does not get one about all.
func (c console) newJob(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("chosen") && !r.URL.Query().Has("id") {
		c.fail(w, r, errNoneChosen)
		return
	}
	c.page("new", func(r *http.Request) []string { return []string{"/letters?" + limited(r)} })(w, r)
}

// start makes a job of the form's selection.
func (c console) start(w http.ResponseWriter, r *http.Request) {
	in := map[string]any{"mode": r.PostFormValue("mode"), "reason": r.PostFormValue("reason")}
	for _, name := range []string{"rate", "budgetPercent"} {
		if value := strings.TrimSpace(r.PostFormValue(name)); value != "" {
			in[name] = json.Number(value)
			if !json.Valid([]byte(value)) {
				c.fail(w, r, problem{http.StatusUnprocessableEntity, name + " is a number."})
				return
			}
		}
	}
	in["selection"] = selection(r)
	made, err := c.call(r, http.MethodPost, "/jobs", in)
	id := ""
	if job, is := made.(map[string]any); is {
		id, _ = job["id"].(string)
	}
	c.then(w, r, "/jobs/"+url.PathEscape(id), err)
}

func (c console) act(w http.ResponseWriter, r *http.Request) {
	_, err := c.call(r, http.MethodPost, "/jobs/"+seg(r)+"/"+url.PathEscape(r.PathValue("verb")), map[string]any{"reason": r.PostFormValue("reason")})
	c.then(w, r, "/jobs/"+seg(r), err)
}

// parse reads the pages once; one that is wrong is a bug and panics.
func parse() map[string]*template.Template {
	words := template.FuncMap{
		"when": func(v any) string {
			at, err := time.Parse(time.RFC3339, fmt.Sprint(v))
			if err != nil {
				return "–"
			}
			return at.UTC().Format("2006-01-02 15:04:05")
		},
		"pretty": func(v any) string {
			text, err := json.MarshalIndent(v, "", "  ")
			if err != nil {
				return err.Error()
			}
			return string(text)
		},
		"number": whole,
		"short": func(v any) string {
			if text := fmt.Sprint(v); len(text) > 8 {
				return text[:8]
			}
			return fmt.Sprint(v)
		},
		"dump": dump,
		"plus": func(query map[string]string, pairs ...string) template.URL {
			values := url.Values{}
			for name, value := range query {
				values.Set(name, value)
			}
			for i := 0; i+1 < len(pairs); i += 2 {
				values.Set(pairs[i], pairs[i+1])
			}
			return template.URL(values.Encode()) //nolint:gosec // it is encoded
		},
		"tail":   func(v any) string { text := fmt.Sprint(v); return text[max(0, len(text)-8):] },
		"sum":    func(a, b any) int64 { return whole(a) + whole(b) },
		"minus":  func(a any, b int64) int64 { return whole(a) - b },
		"moment": func(ms any) string { return time.UnixMilli(whole(ms)).UTC().Format(time.RFC3339Nano) },
		"states": func() []string { return []string{"dead", "quarantined", "discarded", "applied"} },
		"selectors": func() []string {
			return []string{"cause", "group", "kind", "type", "topic", "key", "text", "after", "before"}
		},
		"names": func() []string { return []string{"group", "kind", "type", "topic", "key", "text", "after", "before"} },
		"outcomes": func() []string {
			return []string{"applied", "already-applied", "failed-again", "no-answer", "skipped", "not-sent", "sent", "waiting"}
		},
	}
	all := map[string]*template.Template{}
	names, err := files.ReadDir("pages")
	if err != nil {
		panic(err)
	}
	for _, file := range names {
		name := strings.TrimSuffix(file.Name(), ".html")
		all[name] = template.Must(template.New("layout").Funcs(words).ParseFS(files, "pages/layout.html", "pages/"+file.Name()))
	}
	return all
}

// whole is a number of the API's JSON, 0 for what is none.
func whole(v any) int64 {
	n, _ := v.(json.Number)
	i, _ := n.Int64()
	return i
}

// dump is hexadecimal bytes in lines of sixteen, with the text beside where it can be shown.
func dump(v any) string {
	text := fmt.Sprint(v)
	var out strings.Builder
	for at := 0; at < len(text); at += 32 {
		line := text[at:min(at+32, len(text))]
		fmt.Fprintf(&out, "%06x  ", at/2)
		var plain strings.Builder
		for i := 0; i+1 < len(line); i += 2 {
			var b byte
			_, _ = fmt.Sscanf(line[i:i+2], "%02x", &b) // it was written so
			fmt.Fprintf(&out, "%02x ", b)
			if b < ' ' || b > '~' {
				b = '.'
			}
			plain.WriteByte(b)
		}
		fmt.Fprintf(&out, "%s %s\n", strings.Repeat("   ", 16-len(line)/2), plain.String())
		if at > 64<<10 {
			out.WriteString("…\n")
			break
		}
	}
	return out.String()
}
