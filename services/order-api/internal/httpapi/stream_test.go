package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/admission"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// heard is one event of a stream.
type heard struct {
	id    string
	entry entryView
}

// listen opens a stream and passes on what it tells; the channel closes when the stream ends.
func (w *world) listen(id, token, last string) <-chan heard {
	w.Helper()
	ask, err := http.NewRequestWithContext(w.Context(), http.MethodGet, w.base+"/api/v1/orders/"+id+"/events", nil)
	must(w.T, err)
	ask.Header.Set("Authorization", "Bearer "+token)
	if last != "" {
		ask.Header.Set("Last-Event-ID", last)
	}
	got, err := http.DefaultTransport.RoundTrip(ask)
	must(w.T, err)
	if got.StatusCode != http.StatusOK || got.Header.Get("Content-Type") != "text/event-stream" {
		w.Fatalf("answered %d %v", got.StatusCode, got.Header)
	}
	told := make(chan heard, 100)
	go func() {
		defer close(told)
		defer func() { _ = got.Body.Close() }()
		var h heard
		for lines := bufio.NewScanner(got.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				h.id = value
			case "data":
				_ = json.Unmarshal([]byte(value), &h.entry) // what is no entry fails the test as an empty one
				told <- h
			}
		}
	}()
	return told
}

func (w *world) next(told <-chan heard) heard {
	w.Helper()
	select {
	case h, open := <-told:
		if !open {
			w.Fatal("the stream ended")
		}
		return h
	case <-time.After(20 * time.Second):
		w.Fatal("the stream tells nothing")
	}
	return heard{}
}

func TestAStreamTellsWhatWasAndWhatHappens(t *testing.T) {
	t.Parallel()
	w := setup(t)
	customer := token(t, "u-1")
	o := w.place(customer)
	live, second := w.listen(o.ID, customer, ""), w.listen(o.ID, customer, "")
	if h := w.next(live); h.id != "0" || h.entry.What != "created" || h.entry.Service != "order-api" {
		t.Errorf("first it told %+v", h)
	}
	w.apply(order.Fact{Kind: order.UnitsBooked, Entry: order.Entry{
		OrderID: o.ID, Key: "inventory/booked", At: time.Now(), Service: "inventory", What: "booked", By: "inventory",
	}})
	booked, confirmed := w.next(live), w.next(live)
	if booked.entry.What != "booked" || confirmed.entry.What != "confirmed" {
		t.Errorf("then it told %+v and %+v", booked, confirmed)
	}
	for _, what := range []string{"created", "booked", "confirmed"} {
		if h := w.next(second); h.entry.What != what {
			t.Errorf("the second watcher heard %+v, want %s", h, what)
		}
	}
	// Who comes back hears what came after.
	again := w.listen(o.ID, customer, booked.id)
	if h := w.next(again); h != confirmed {
		t.Errorf("after %s it told %+v, want %+v", booked.id, h, confirmed)
	}
	w.do("POST", "/api/v1/orders/"+o.ID+"/cancel", customer, `{"reason":"late"}`)
	for _, stream := range []<-chan heard{live, second, again} {
		if h := w.next(stream); h.entry.What != "cancelled" || !strings.Contains(h.entry.Detail, "late") {
			t.Errorf("at the end it told %+v", h)
		}
	}
}

// A service that stops does not wait for those who watch.
func TestStreamsEndWithTheService(t *testing.T) {
	t.Parallel()
	w := setup(t)
	customer := token(t, "u-1")
	told := w.listen(w.place(customer).ID, customer, "")
	w.next(told)
	w.close() // would hang if the stream went on
	if h, open := <-told; open {
		t.Errorf("after the end it told %+v", h)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	w := setup(t, func(c *Config) {
		c.Lanes = lanes(t, admission.Config{Orders: 1, Moves: 1, Reads: 1, Operators: 1, Streams: 1})
	})
	customer := token(t, "u-1")
	id := w.place(customer).ID
	if a := w.do("GET", "/api/v1/orders/"+id+"/events", customer, "", "Last-Event-ID", "-1"); a.Status != 400 {
		t.Errorf("a made-up event id: %d %s", a.Status, a.Body)
	}
	told := w.listen(id, customer, "")
	w.next(told)
	if a := w.do("GET", "/api/v1/orders/"+id+"/events", customer, ""); a.Status != 503 || a.problem(t).Code != overloaded {
		t.Errorf("one too many: %d %s", a.Status, a.Body)
	}
	if a := w.do("GET", "/api/v1/orders/"+id+"/timeline", customer, ""); a.Status != 200 {
		t.Errorf("who watches takes the place of who reads: %d %s", a.Status, a.Body)
	}
}

// A slow reader gets everything, in order, also what did not fit at first, and holds up nobody.
func TestASlowReaderMissesNothing(t *testing.T) {
	t.Parallel()
	const many = 200 * streamAhead
	all := make([]order.Entry, many)
	for i := range all {
		all[i] = order.Entry{OrderID: "o", Seq: int64(i + 1)}
	}
	s := newStreams(func(_ context.Context, after map[string]int64) ([]order.Entry, error) { return all[after["o"]:], nil }, nil)
	slow, quick := s.watch("o", 0), s.watch("o", many-1)
	ctx, cancel := context.WithCancel(t.Context())
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		for ctx.Err() == nil {
			s.look(ctx)
		}
	}()
	for want := int64(1); want <= many; want++ {
		if e := <-slow.entries; e.Seq != want {
			t.Errorf("told %d, want %d", e.Seq, want)
			break
		}
	}
	cancel()
	<-fed
	if e := <-quick.entries; e.Seq != many {
		t.Errorf("the quick one heard %d", e.Seq)
	}
}
