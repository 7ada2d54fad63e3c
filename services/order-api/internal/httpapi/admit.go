package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/admission"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/shield"
)

const ordersPath = "/api/v1/orders"

// ServeHTTP answers one request, if there is room for it. Nothing that costs comes before this: no token is looked at, no
// body is understood and no line is logged of what is turned away.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/api/v1/") {
		s.handler.ServeHTTP(w, r) // the text of the interface, and addresses that do not exist
		return
	}
	hold(w, r)
	lane := s.lane(r)
	if !lane.Enter() {
		s.turnAway(w, r, lane)
		return
	}
	defer lane.Leave()
	s.handler.ServeHTTP(w, r)
}

// lane is where a request waits: a crowd that orders must not keep anybody from paying, reading or working.
func (s *Server) lane(r *http.Request) *admission.Lane {
	ofAnOrder := strings.HasPrefix(r.URL.Path, ordersPath+"/")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if ofAnOrder && strings.HasSuffix(r.URL.Path, "/events") {
			return s.Lanes.Streams
		}
		return s.Lanes.Reads
	case http.MethodPost, http.MethodDelete:
		if ofAnOrder {
			return s.Lanes.Moves
		}
		if r.URL.Path == ordersPath {
			return s.Lanes.Orders
		}
	}
	return s.Lanes.Operators
}

// hold reads a small body before a place is taken, so that a caller who sends slowly holds none. What is too large, or
// breaks off, is told to whoever reads it.
func hold(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		return
	}
	first := make([]byte, 0, min(max(r.ContentLength+1, bytes.MinRead), maxBody+1)) // one more than there is, to meet the end
	whole := bytes.NewBuffer(first)
	_, err := whole.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	r.Body = &held{Buffer: whole, err: err}
}

// held is a body that was read, and how that ended.
type held struct {
	*bytes.Buffer

	err error
}

// Read gives what was read, and then the error that ended it.
func (h *held) Read(p []byte) (int, error) {
	n, err := h.Buffer.Read(p)
	if errors.Is(err, io.EOF) && h.err != nil {
		err = h.err
	}
	return n, err
}

// Close has nothing to close: the server closes the connection's own body.
func (h *held) Close() error { return nil }

// Headers that never change are shared.
var (
	soon        = []string{"1"}
	problemType = []string{"application/problem+json"}
)

// turnAway answers what found its lane full.
func (s *Server) turnAway(w http.ResponseWriter, r *http.Request, lane *admission.Lane) {
	arrived := s.edge.Arrive(r.Context(), r.Method, r.Header)
	h := w.Header()
	h["Retry-After"], h["Content-Type"] = soon, problemType
	h[headerRequestID] = []string{idOf(r)}
	body, route := tooManyOrders, ordersPath
	switch lane {
	case s.Lanes.Orders:
		s.Overloaded(arrived.Context)
	case s.Lanes.Streams:
		body, route = tooMany("too many timelines are watched; ask for /timeline, or try again in a moment", r.URL.Path), ""
	default:
		body, route = tooMany("too many requests of this kind wait; nothing was done, try again in a moment", r.URL.Path), ""
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write(body) //nolint:gosec // JSON, and said to be; a caller who left needs no answer
	arrived.Leave(route, http.StatusServiceUnavailable, false)
}

const ordersWait = "too many orders wait; nothing was ordered, try again in a moment"

var tooManyOrders = tooMany(ordersWait, ordersPath)

func tooMany(detail, path string) []byte {
	p := newProblem(&order.Error{Code: overloaded, Message: detail}, path)
	body, _ := json.Marshal(p) // it has nothing that cannot be written
	return body
}

// route is a method and a pattern.
type route struct{ method, pattern string }

// doorNames are what rules call the routes.
var doorNames = map[route]string{
	{"POST", ordersPath}:                     shield.CreateOrder,
	{"GET", ordersPath}:                      "order/list",
	{"GET", ordersPath + "/:id"}:             "order/show",
	{"DELETE", ordersPath + "/:id"}:          "order/hide",
	{"POST", ordersPath + "/:id/pay"}:        "order/pay",
	{"POST", ordersPath + "/:id/cancel"}:     "order/cancel",
	{"POST", ordersPath + "/:id/refund"}:     "order/refund",
	{"GET", ordersPath + "/:id/timeline"}:    "order/timeline",
	{"GET", ordersPath + "/:id/events"}:      "order/events",
	{"GET", ordersPath + "/:id/shipment"}:    "order/shipment",
	{"GET", "/api/v1/items"}:                 "item/list",
	{"GET", "/api/v1/items/:sku"}:            "item/show",
	{"PUT", "/api/v1/items/:sku"}:            "item/change",
	{"DELETE", "/api/v1/items/:sku"}:         "item/retire",
	{"POST", "/api/v1/items/:sku/stock"}:     "item/stock",
	{"GET", "/api/v1/me/points"}:             "points/mine",
	{"GET", "/api/v1/users/:id/points"}:      "points/show",
	{"POST", "/api/v1/shipments/:id/events"}: "shipment/news",
}

func doorsOf(s *shield.Shield) map[route]*shield.Door {
	doors := make(map[route]*shield.Door, len(doorNames))
	for r, name := range doorNames {
		doors[r] = s.Door(name)
	}
	return doors
}

var errFailed = errors.New("the request was not served")

// guard lets a request pass that the rules let pass, and tells them how it went. It comes after the token, so that
// strangers use up nobody's share, and before anything is asked of the database.
func (s *Server) guard(c *gin.Context) {
	pass, err := s.doors[route{c.Request.Method, c.FullPath()}].Enter(c.Request.Context())
	if err != nil {
		s.fail(c, keptOut(err))
		return
	}
	failed := errFailed // unless it comes to an end
	defer func() { pass.Leave(failed) }()
	c.Next()
	failed = fault(c)
}

// keptOut is what a caller is told whom a rule kept out.
func keptOut(err error) error {
	var b *shield.Blocked
	if !errors.As(err, &b) {
		return err
	}
	if b.Flow {
		return fmt.Errorf("%w: %w", &order.Error{Code: rateLimited, Message: "too many requests; try again in a moment"}, err)
	}
	return fmt.Errorf("%w: %w", away("this part of the order book"), err)
}

// fault says whether this service failed the request: a refusal is an answer, and what was turned away for want of room
// says nothing of those inside.
func fault(c *gin.Context) error {
	if c.Writer.Status() < http.StatusInternalServerError {
		return nil
	}
	if last := c.Errors.Last(); last != nil && refusalOf(last.Err).Code == overloaded {
		return nil
	}
	return errFailed
}

// admitSkus lets order lines pass that the rules let pass.
func (s *Server) admitSkus(ctx context.Context, lines []order.Line) error {
	for _, l := range lines {
		if err := s.Shield.Skus().Enter(ctx, l.SkuID); err != nil {
			return keptOut(err)
		}
	}
	return nil
}
