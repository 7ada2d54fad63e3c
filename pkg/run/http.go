package run

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// ServeHTTP answers on listener until ctx ends; nil then. Answers under way get grace to finish, what lasts longer is
// cut off.
func ServeHTTP(ctx context.Context, listener net.Listener, srv *http.Server, grace time.Duration) error {
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
