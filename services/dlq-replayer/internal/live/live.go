// Package live tells browsers and programs what is new as server-sent events, until they leave or the service stops.
package live

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/run"
)

// Stream sends what next says, whenever it changed, until there is no more or the caller leaves or the service stops.
func Stream(w http.ResponseWriter, r *http.Request, every time.Duration, next func() (event string, data []byte, more bool)) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	control := http.NewResponseController(w)
	last, silent := "", time.Duration(0)
	for more := true; more; {
		var event string
		var data []byte
		event, data, more = next()
		_ = control.SetWriteDeadline(time.Now().Add(10 * time.Second)) // a caller who reads nothing is let go
		switch {
		case event != "" && string(data) != last:
			last, silent = string(data), 0
			_, _ = fmt.Fprintf(w, "event: %s\n", event)
			for line := range strings.SplitSeq(last, "\n") {
				_, _ = fmt.Fprintf(w, "data: %s\n", line)
			}
			_, _ = fmt.Fprint(w, "\n")
		case silent >= 15*time.Second:
			silent = 0
			_, _ = fmt.Fprint(w, ": still here\n\n")
		default:
			silent += every
		}
		if control.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-run.Stopping(r.Context()):
			return
		case <-time.After(every):
		}
	}
}
