package httpapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/otel/trace"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/accept"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/shield"
)

// Codes that no rule of an order knows: they are about requests.
const (
	unauthenticated  order.Code = "unauthenticated"
	forbidden        order.Code = "forbidden"
	methodNotAllowed order.Code = "method-not-allowed"
	tooLarge         order.Code = "too-large"
	unsupportedMedia order.Code = "unsupported-media-type"
	rateLimited      order.Code = "rate-limited"
	overloaded       order.Code = "overloaded"
	dependencyAway   order.Code = "dependency-unavailable"
	internal         order.Code = "internal"
)

// kinds are the status and the title of every code.
var kinds = map[order.Code]struct {
	status int
	title  string
}{
	order.Malformed:      {http.StatusBadRequest, "The request cannot be read"},
	unauthenticated:      {http.StatusUnauthorized, "A valid token is needed"},
	forbidden:            {http.StatusForbidden, "The token does not allow this"},
	order.NotFound:       {http.StatusNotFound, "Not found"},
	methodNotAllowed:     {http.StatusMethodNotAllowed, "The method does not exist here"},
	order.SoldOut:        {http.StatusConflict, "Sold out"},
	order.LimitReached:   {http.StatusConflict, "The limit per customer is reached"},
	order.IllegalMove:    {http.StatusConflict, "The order is in another state"},
	tooLarge:             {http.StatusRequestEntityTooLarge, "The request is too large"},
	unsupportedMedia:     {http.StatusUnsupportedMediaType, "The content type is not supported"},
	order.InvalidRequest: {http.StatusUnprocessableEntity, "The request is not valid"},
	order.UnknownItem:    {http.StatusUnprocessableEntity, "Unknown item"},
	order.MixedCurrency:  {http.StatusUnprocessableEntity, "More than one currency"},
	order.KeyReused:      {http.StatusUnprocessableEntity, "The key was used for something else"},
	rateLimited:          {http.StatusTooManyRequests, "Too many requests"},
	overloaded:           {http.StatusServiceUnavailable, "Too many requests wait"},
	dependencyAway:       {http.StatusServiceUnavailable, "A part of the system is away"},
	internal:             {http.StatusInternalServerError, "Something went wrong here"},
}

// problem is RFC 9457's problem details with this interface's own members.
type problem struct {
	Type        string           `json:"type"`
	Title       string           `json:"title"`
	Status      int              `json:"status"`
	Detail      string           `json:"detail"`
	Code        order.Code       `json:"code"`
	Instance    string           `json:"instance"`
	Errors      []fieldError     `json:"errors,omitempty"`
	Left        map[string]int64 `json:"left,omitempty"`
	OrderStatus order.Status     `json:"orderStatus,omitempty"`
	TraceID     string           `json:"traceId,omitempty"`
}

type fieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

var (
	errNoRoute   = &order.Error{Code: order.NotFound, Message: "there is nothing at this address"}
	errMethod    = &order.Error{Code: methodNotAllowed, Message: "this address does not know the method; see the Allow header"}
	errForbidden = &order.Error{Code: forbidden, Message: "the token's roles do not allow this"}
	errTooLarge  = &order.Error{Code: tooLarge, Message: "a body has at most 64 KiB"}
	errMedia     = &order.Error{Code: unsupportedMedia, Message: "send JSON with Content-Type: application/json"}
)

func invalid(field, message string) *order.Error {
	return &order.Error{Code: order.InvalidRequest, Message: "the request is not valid", Fields: []order.Field{{Field: field, Message: message}}}
}

func malformed(message string) *order.Error {
	return &order.Error{Code: order.Malformed, Message: message}
}

func away(service string) *order.Error {
	return &order.Error{Code: dependencyAway, Message: service + " does not answer; try again in a moment"}
}

// statusLeft is what is counted and logged of a caller who hung up before his answer. Nobody reads it, and it is no fault of
// this door; the number is the one that proxies use.
const statusLeft = 499

// fail is the only place that turns an error into an answer. The cause goes to the log through c.Errors; the caller sees
// a sentence only if it was written for callers.
func (s *Server) fail(c *gin.Context, err error) {
	_ = c.Error(err)
	if c.Request.Context().Err() != nil {
		c.AbortWithStatus(statusLeft)
		return
	}
	refusal := refusalOf(err)
	p := newProblem(refusal, c.Request.URL.Path)
	if refusal.Code == internal {
		p.TraceID = traceID(c)
	}
	s.explain(c, p.Status, err)
	c.Abort()
	c.Header("Content-Type", "application/problem+json")
	c.JSON(p.Status, p)
}

// newProblem is refusal as it is written.
func newProblem(refusal *order.Error, instance string) problem {
	kind := kinds[refusal.Code]
	p := problem{
		Type: "https://floodgate.dev/problems/" + string(refusal.Code), Title: kind.title, Status: kind.status,
		Detail: refusal.Message, Code: refusal.Code, Instance: instance, Left: refusal.Left, OrderStatus: refusal.Status,
	}
	for _, f := range refusal.Fields {
		p.Errors = append(p.Errors, fieldError(f))
	}
	return p
}

// explain sets the headers that go with a status.
func (s *Server) explain(c *gin.Context, code int, err error) {
	switch code {
	case http.StatusUnauthorized:
		challenge := `Bearer realm="floodgate"`
		var refused *auth.Refused
		if errors.As(err, &refused) {
			challenge += fmt.Sprintf(`, error="invalid_token", error_description=%s`, strconv.Quote(refused.Reason))
		}
		c.Header("WWW-Authenticate", challenge)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		c.Header("Retry-After", strconv.Itoa(comeBack(err)))
	}
}

// comeBack is in how many seconds to try again: when an open breaker tries, else in one.
func comeBack(err error) int {
	var b *shield.Blocked
	if errors.As(err, &b) {
		return max(1, int(math.Ceil(b.After.Seconds())))
	}
	return 1
}

// refusalOf is what the caller is told about err.
func refusalOf(err error) *order.Error {
	var known *order.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, auth.ErrKeysAway):
		return away("the token's issuer")
	case errors.Is(err, auth.ErrUnauthenticated):
		return &order.Error{Code: unauthenticated, Message: "send Authorization: Bearer with a token that is signed, in time and meant for this service"}
	case errors.Is(err, accept.ErrOverloaded):
		return &order.Error{Code: overloaded, Message: ordersWait}
	case errors.Is(err, accept.ErrUnavailable), database.Unavailable(err), database.Retryable(err), errors.Is(err, context.DeadlineExceeded):
		return away("the order book")
	}
	return &order.Error{Code: internal, Message: "this was logged; name the trace id when you ask about it"}
}

func traceID(c *gin.Context) string {
	if span := trace.SpanContextFromContext(c.Request.Context()); span.HasTraceID() {
		return span.TraceID().String()
	}
	return c.Writer.Header().Get(headerRequestID)
}

// recover answers for a handler that panicked. The connection's own abort goes on to the server.
func (s *Server) recover(c *gin.Context) {
	defer func() {
		switch r := recover(); r {
		case nil:
		case http.ErrAbortHandler:
			panic(r)
		default:
			s.Log.ErrorContext(c.Request.Context(), "a handler panicked", "panic", r, "route", c.FullPath())
			if !c.Writer.Written() {
				s.fail(c, fmt.Errorf("panic: %v", r))
			}
		}
	}()
	c.Next()
}

// codesOf lists every code, for the test that compares them with openapi.yaml.
func codesOf() []string {
	var all []string
	for code := range kinds {
		all = append(all, string(code))
	}
	slices.Sort(all)
	return slices.DeleteFunc(all, func(s string) bool { return strings.TrimSpace(s) == "" })
}
