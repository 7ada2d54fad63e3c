package run

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// ServeHTTP answers on listener until ctx ends; nil then. Answers under way get grace to finish, what lasts longer is
// cut off. While the service drains each answer asks the caller to take another connection for the next request: one that
// lies idle when the door closes would take a request with it.
func ServeHTTP(ctx context.Context, listener net.Listener, srv *http.Server, grace time.Duration) error {
	srv.Handler = partingWords(Draining(ctx), srv.Handler)
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		_ = srv.Close() // a profile or a stream that still runs must not hold up the end
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// partingWords closes each connection with the answer to its last request, once draining is closed.
func partingWords(draining <-chan struct{}, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-draining:
			w.Header().Set("Connection", "close")
		default:
		}
		next.ServeHTTP(w, r)
	})
}
