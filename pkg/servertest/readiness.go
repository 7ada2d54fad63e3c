package servertest

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// Service is a whole service with a gRPC door, to be run by a test on an empty database that it does not migrate.
type Service struct {
	Door, Ops      string // addresses
	Migrate, Serve func(context.Context) error
}

// ReadinessTellsTheTruth holds a service to what each of them promises whoever sends it work: it is not ready while it waits
// for its tables, ready when somebody made them, and not ready as soon as it was told to stop, while it finishes its calls.
func ReadinessTellsTheTruth(t *testing.T, s Service) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()

	s.awaitReadyz(t, http.StatusServiceUnavailable, "[-] tables")
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.awaitReadyz(t, http.StatusOK, "[+] tables")
	hangUp := s.call(t)
	stop()
	s.awaitReadyz(t, http.StatusServiceUnavailable, "stopping")
	hangUp()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it stopped with %v", err)
		}
	case <-time.After(patience):
		t.Errorf("it did not stop within %v", patience)
	}
}

// awaitReadyz polls until /readyz answers status and says word.
func (s Service) awaitReadyz(t *testing.T, status int, word string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
		got, says := s.readyz(t)
		if got == status && strings.Contains(says, word) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("readyz: %d %s; want %d and %q", got, says, status, word)
		}
	}
}

func (s Service) readyz(t *testing.T) (status int, says string) {
	t.Helper()
	ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Ops+"/readyz?verbose", nil)
	if err != nil {
		t.Fatal(err)
	}
	ask.Close = true
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(text)
}

// call begins a call that lasts until hangUp: a watch of the door's health.
func (s Service) call(t *testing.T) (hangUp func()) {
	t.Helper()
	conn, err := grpc.NewClient(s.Door, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
	if err == nil {
		_, err = watch.Recv()
	}
	if err != nil {
		t.Fatalf("watch the door: %v", err)
	}
	return func() { _ = conn.Close() }
}
