package ops

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/floodgate-dev/floodgate/pkg/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// door serves until the test ends, in a group whose other part stops when release is closed.
type door struct {
	url     string
	stop    context.CancelFunc
	release chan struct{}
	ended   chan error
}

func open(t *testing.T, checks ...Check) *door {
	t.Helper()
	return openDoor(t, Door{Checks: checks})
}

func openDoor(t *testing.T, opened Door) *door {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	d := &door{url: "http://" + listener.Addr().String(), stop: stop, release: make(chan struct{}), ended: make(chan error, 1)}
	opened.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") })
	g := run.NewGroup(ctx)
	g.Start("ops", func(ctx context.Context) error { return opened.serve(ctx, listener) })
	g.Start("work", func(ctx context.Context) error { <-ctx.Done(); <-d.release; return nil })
	go func() { d.ended <- g.Wait() }()
	return d
}

func (d *door) end(t *testing.T) {
	t.Helper()
	d.stop()
	close(d.release)
	if err := <-d.ended; err != nil {
		t.Error(err)
	}
}

func (d *door) get(t *testing.T, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func fine(context.Context) error { return nil }
func away(context.Context) error { return errors.New("connection refused") }

func TestDoors(t *testing.T) {
	t.Parallel()
	well := open(t, Check{"database", fine})
	defer well.end(t)
	sick := open(t, Check{"database", fine}, Check{"kafka", away})
	defer sick.end(t)
	fronted := openDoor(t, Door{Front: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "front "+r.URL.Path) })})
	defer fronted.end(t)
	for name, c := range map[string]struct {
		door   *door
		path   string
		status int
		body   string
	}{
		"LiveWhateverIsAway": {sick, "/livez", 200, "ok\n"},
		"Ready":              {well, "/readyz", 200, "ok\n"},
		"ReadyInDetail":      {well, "/readyz?verbose", 200, "[+] database\nok\n"},
		"NotReadySaysWhy":    {sick, "/readyz", 503, "[+] database\n[-] kafka: connection refused\nnot ready\n"},
		"Metrics":            {well, "/metrics", 200, "up 1\n"},
		"Blocking":           {well, "/debug/pprof/block?seconds=1", 200, "\x1f\x8b"},
		"Profiles":           {well, "/debug/pprof/cmdline", 200, "ops.test"},
		"NothingElse":        {well, "/", 404, "404 page not found\n"},
		"Front":              {fronted, "/", 200, "front /"},
		"BehindTheFront":     {fronted, "/some/part", 200, "front /some/part"},
		"FrontHidesNothing":  {fronted, "/livez", 200, "ok\n"},
	} {
		status, body := c.door.get(t, c.path)
		if status != c.status || !strings.Contains(body, c.body) {
			t.Errorf("%s: %d %q, want %d %q", name, status, body, c.status, c.body)
		}
	}
}

func TestNotReadyAsSoonAsTheServiceStops(t *testing.T) {
	t.Parallel()
	d := open(t, Check{"database", fine})
	if status, _ := d.get(t, "/readyz"); status != http.StatusOK {
		t.Fatalf("readyz = %d before it stops", status)
	}
	d.stop() // the other part still works
	for until := time.Now().Add(5 * time.Second); ; {
		status, body := d.get(t, "/readyz?verbose")
		if status == http.StatusServiceUnavailable && strings.Contains(body, "stopping") {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("readyz = %d %q while it stops", status, body)
		}
	}
	if status, _ := d.get(t, "/livez"); status != http.StatusOK {
		t.Errorf("livez = %d while it stops", status)
	}
	d.end(t)
}

func TestAProbeThatHangsIsNotReady(t *testing.T) {
	t.Parallel()
	d := open(t, Check{"database", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
	defer d.end(t)
	if status, _ := d.get(t, "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("readyz = %d", status)
	}
}

func TestTakenPortIsToldByNumber(t *testing.T) {
	t.Parallel()
	d := open(t)
	defer d.end(t)
	err := Serve(t.Context(), strings.TrimPrefix(d.url, "http://"), http.NotFoundHandler())
	if port, taken := run.TakenPort(err); !taken || !strings.HasSuffix(d.url, ":"+strconv.Itoa(port)) {
		t.Errorf("err = %v", err)
	}
}
