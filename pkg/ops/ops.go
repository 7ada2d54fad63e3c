// Package ops is the operations door of a service: /livez, /readyz, /metrics, /debug/pprof, and a front that the service may
// put at /.
//
// It promises that a dependency's outage never makes a service look dead, and that a service which was told to stop
// says so while it still works.
package ops

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime"
	"sync"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/run"
)

const (
	patience = 2 * time.Second // with one probe
	grace    = time.Second     // for answers under way at the end
)

// Check is one thing a service needs before it can be sent work.
type Check struct {
	Name  string
	Probe func(context.Context) error
}

// Door is what stands behind an operations door.
type Door struct {
	Metrics http.Handler
	Front   http.Handler // answers / and whatever has no other answer; nil for none
	Checks  []Check
}

// Serve answers on addr until ctx ends; nil then. It is not ready as soon as the run.Group it runs in begins to stop, so
// start it first in the group: it is then the last to go.
func Serve(ctx context.Context, addr string, metrics http.Handler, checks ...Check) error {
	return Door{Metrics: metrics, Checks: checks}.Serve(ctx, addr)
}

// Serve is the function of this name, for a door with a front.
func (d Door) Serve(ctx context.Context, addr string) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("operations door: %w", err)
	}
	return d.serve(ctx, listener)
}

func (d Door) serve(ctx context.Context, listener net.Listener) error {
	srv := &http.Server{Handler: d.routes(run.Stopping(ctx)), ReadHeaderTimeout: 5 * time.Second}
	if err := run.ServeHTTP(ctx, listener, srv, grace); err != nil {
		return fmt.Errorf("operations door: %w", err)
	}
	return nil
}

func (d Door) routes(stopping <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { readyz(w, r, stopping, d.Checks) })
	mux.Handle("GET /metrics", d.Metrics)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/block", blocking)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	if d.Front != nil {
		mux.Handle("/", d.Front)
	}
	return mux
}

// readyz answers 200 if every check passes and nobody asked the service to stop. The checks are listed when asked for
// (?verbose) and whenever one fails.
func readyz(w http.ResponseWriter, r *http.Request, stopping <-chan struct{}, checks []Check) {
	select {
	case <-stopping:
		http.Error(w, "not ready: stopping", http.StatusServiceUnavailable)
		return
	default:
	}
	lines, ready := probe(r.Context(), checks)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if !ready || r.URL.Query().Has("verbose") {
		for _, line := range lines {
			_, _ = fmt.Fprintln(w, line)
		}
	}
	verdict := "ok"
	if !ready {
		verdict = "not ready"
	}
	_, _ = fmt.Fprintln(w, verdict)
}

// probe runs all checks side by side, each for a bounded time.
func probe(ctx context.Context, checks []Check) (lines []string, ready bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	errs := make([]error, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { errs[i] = c.Probe(ctx) })
	}
	wg.Wait()
	ready = true
	for i, c := range checks {
		if errs[i] != nil {
			ready = false
			lines = append(lines, fmt.Sprintf("[-] %s: %v", c.Name, errs[i]))
			continue
		}
		lines = append(lines, fmt.Sprintf("[+] %s", c.Name))
	}
	return lines, ready
}

// watched says that a blocking profile is being taken; there is one rate for the process.
var watched sync.Mutex

// blocking answers with where goroutines waited during the seconds that are asked for: ?seconds=5. Waits are sampled only
// while somebody asks, for that costs every channel and lock.
func blocking(w http.ResponseWriter, r *http.Request) {
	if !watched.TryLock() {
		http.Error(w, "somebody else takes a blocking profile: try again when it is over", http.StatusConflict)
		return
	}
	defer watched.Unlock()
	runtime.SetBlockProfileRate(int(10 * time.Microsecond))
	defer runtime.SetBlockProfileRate(0)
	pprof.Handler("block").ServeHTTP(w, r)
}
