package run

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"
)

// A door that drains still answers, and each answer sends the caller to another connection.
func TestADrainingDoorAnswersAndClosesConnections(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	g := Config{DrainDelay: 10 * time.Second}.Group(ctx)
	draining := make(chan struct{})
	g.Start("door", func(ctx context.Context) error {
		go func() { <-Draining(ctx); close(draining) }()
		door := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
		return ServeHTTP(ctx, listener, &http.Server{Handler: door, ReadHeaderTimeout: time.Second}, time.Second)
	})
	failed := make(chan struct{})
	g.Start("failing", func(context.Context) error { <-failed; return errPart }) // ends the drain when the test is through
	ended := make(chan error, 1)
	go func() { ended <- g.Wait() }()

	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	closes := func() bool {
		ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(ask)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close() // it is empty
		if answer.StatusCode != http.StatusNoContent {
			t.Errorf("answered %d", answer.StatusCode)
		}
		return answer.Close
	}
	if closes() {
		t.Error("the connection is closed before anybody was told to stop")
	}
	stop()
	<-draining
	for range 2 { // a caller who comes back is answered too
		if !closes() {
			t.Error("a connection stays open while the service drains")
		}
	}
	close(failed)
	<-ended
}
