// Package overview is the page of a sale as it happens, for whoever has nothing else at hand: what is accepted and refused,
// how long it takes, and what does not keep up.
//
// It shows what this process measures of itself and asks nobody else, so it works while Kafka, Redis and the database are
// away. It remembers five minutes. The page is made here and works without a script; with one it follows what happens. It
// loads nothing from elsewhere.
package overview

import (
	"bytes"
	"context"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

//go:embed overview.html assets/*
var files embed.FS

const (
	every    = time.Second
	remember = 5 * time.Minute
)

// Config is what the page stands on.
type Config struct {
	Meters prometheus.Gatherer
	Name   string // of this replica, for people
	Log    *slog.Logger
}

// Page answers with the overview and remembers what it shows.
type Page struct {
	Config
	page   *template.Template
	assets http.Handler

	mu   sync.Mutex // guards past
	past []sample   // oldest first, at most remember/every
}

// New is a page that has seen nothing yet; Run lets it look.
func New(cfg Config) *Page {
	return &Page{
		Config: cfg, assets: http.FileServerFS(files),
		page: template.Must(template.New("overview.html").Funcs(words).ParseFS(files, "overview.html")),
	}
}

// Run looks at the meters every second until ctx ends.
func (p *Page) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		p.look(ctx, time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look adds a sample. What could be gathered counts, whatever else could not.
func (p *Page) look(ctx context.Context, at time.Time) {
	families, err := p.Meters.Gather()
	if err != nil {
		p.Log.WarnContext(ctx, "the overview misses some meters", "error", err)
	}
	seen := read(at, families)
	p.mu.Lock()
	defer p.mu.Unlock()
	if most := int(remember/every) + 1; len(p.past) >= most {
		p.past = append(p.past[:0], p.past[len(p.past)-most+1:]...)
	}
	p.past = append(p.past, seen)
}

// ServeHTTP answers /, its live part at /live, and what they are drawn with. Addresses are relative, so the page also
// works under a prefix.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "this page can only be read", http.StatusMethodNotAllowed)
		return
	}
	switch r.URL.Path {
	case "/":
		p.render(w, r, "overview.html")
	case "/live":
		p.render(w, r, "live")
	case "/assets/overview.css", "/assets/overview.js", "/assets/icon.svg":
		h.Set("Cache-Control", "max-age=300")
		p.assets.ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (p *Page) render(w http.ResponseWriter, r *http.Request, name string) {
	var out bytes.Buffer
	if err := p.page.ExecuteTemplate(&out, name, p.view()); err != nil {
		p.Log.ErrorContext(r.Context(), "render the overview", "error", err)
		http.Error(w, "this page could not be made; it was logged", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(out.Bytes()) // the reader left
}
