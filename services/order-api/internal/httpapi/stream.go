package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

const (
	lookEvery   = 200 * time.Millisecond // for new entries, once for all streams
	beatEvery   = 15 * time.Second       // so that proxies do not take a quiet stream for a dead one
	streamLife  = 15 * time.Minute       // then the browser comes back with a token that is still good
	writeWithin = 10 * time.Second
	streamAhead = 64 // entries that wait for a slow reader
)

// streams are the timelines that are watched. One look at the database every lookEvery serves all of them.
type streams struct {
	since func(ctx context.Context, after map[string]int64) ([]order.Entry, error)
	log   *slog.Logger
	ended chan struct{} // closed when nobody feeds them any more

	mu   sync.Mutex
	open map[*stream]struct{} // guarded by mu
}

// stream is one watcher of one order.
type stream struct {
	order   string
	seq     int64 // of the newest entry it was given; guarded by streams.mu
	entries chan order.Entry
}

func newStreams(since func(context.Context, map[string]int64) ([]order.Entry, error), log *slog.Logger) *streams {
	return &streams{since: since, log: log, ended: make(chan struct{}), open: map[*stream]struct{}{}}
}

// run feeds the streams until ctx ends.
func (s *streams) run(ctx context.Context) error {
	defer close(s.ended)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.look(ctx)
		}
	}
}

// look gives every stream what is new for it. What does not fit waits: its seq stays, so the next look finds it again.
func (s *streams) look(ctx context.Context) {
	after := s.wanted()
	if len(after) == 0 {
		return
	}
	entries, err := s.since(ctx, after)
	if err != nil {
		if ctx.Err() == nil {
			s.log.WarnContext(ctx, "timelines that are watched wait", "orders", len(after), "error", err)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	full := map[*stream]bool{}
	for _, e := range entries {
		for w := range s.open {
			if w.order != e.OrderID || w.seq >= e.Seq || full[w] {
				continue
			}
			select {
			case w.entries <- e:
				w.seq = e.Seq
			default:
				full[w] = true
			}
		}
	}
}

// wanted is the oldest entry that some stream of each order has.
func (s *streams) wanted() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	after := map[string]int64{}
	for w := range s.open {
		if seq, known := after[w.order]; !known || w.seq < seq {
			after[w.order] = w.seq
		}
	}
	return after
}

// watch opens a stream that begins after seq.
func (s *streams) watch(id string, seq int64) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &stream{order: id, seq: seq, entries: make(chan order.Entry, streamAhead)}
	s.open[w] = struct{}{}
	return w
}

func (s *streams) leave(w *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, w)
}

// events tells an order's life as it happens, from its creation or from after the Last-Event-ID.
func (s *Server) events(c *gin.Context) {
	id := orderOf(c).ID
	last := int64(-1) // the creation is entry 0
	if text := c.GetHeader("Last-Event-ID"); text != "" {
		seq, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seq < 0 {
			s.fail(c, malformed("Last-Event-ID must be the id of an event of this stream"))
			return
		}
		last = seq
	}
	told, err := s.Books.Timeline(c.Request.Context(), id)
	if err != nil {
		s.fail(c, err)
		return
	}
	slices.SortStableFunc(told, func(a, b order.Entry) int { return int(a.Seq - b.Seq) })
	told = slices.DeleteFunc(told, func(e order.Entry) bool { return e.Seq <= last })
	if len(told) > 0 {
		last = told[len(told)-1].Seq
	}
	w := s.streams.watch(id, last)
	defer s.streams.leave(w)
	s.tell(c, told, w)
}

// tell writes events until the caller leaves, the service stops or the stream has lived long enough.
func (s *Server) tell(c *gin.Context, told []order.Entry, w *stream) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), streamLife)
	defer cancel()
	out := http.NewResponseController(c.Writer)
	c.Header("Content-Type", "text/event-stream")
	c.Header("Cache-Control", "no-store")
	c.Header("X-Accel-Buffering", "no")
	c.Status(http.StatusOK)
	for _, e := range told {
		if writeEvent(c.Writer, out, e) != nil {
			return
		}
	}
	if out.Flush() != nil {
		return
	}
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-s.streams.ended:
			return
		case e := <-w.entries:
			err = writeEvent(c.Writer, out, e)
		case <-beat.C:
			_ = out.SetWriteDeadline(time.Now().Add(writeWithin))
			_, err = fmt.Fprint(c.Writer, ": still here\n\n")
		}
		if err != nil || out.Flush() != nil {
			return
		}
	}
}

// writeEvent writes one entry; its id is what a browser sends as Last-Event-ID when it comes back.
func writeEvent(w http.ResponseWriter, out *http.ResponseController, e order.Entry) error {
	data, err := json.Marshal(viewEntry(e))
	if err != nil {
		return err
	}
	_ = out.SetWriteDeadline(time.Now().Add(writeWithin))
	_, err = fmt.Fprintf(w, "id: %d\nevent: entry\ndata: %s\n\n", e.Seq, data)
	return err
}
