package httpapi

import (
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// Roles. An operator may do all; a shop acts for customers; everybody else is a customer.
const (
	roleShop     = "shop"
	roleOperator = "operator"
)

const (
	headerRequestID = "X-Request-Id"
	keyCaller       = "caller"
	keyOrder        = "order"
)

var saneRequestID = regexp.MustCompile(`^[\x21-\x7e]{1,128}$`)

// requestID takes over the caller's request id, or makes one, and returns it.
func (s *Server) requestID(c *gin.Context) {
	c.Header(headerRequestID, idOf(c.Request))
	c.Next()
}

// idOf is the request's id as its caller named it, or a new one.
func idOf(r *http.Request) string {
	id := r.Header.Get(headerRequestID)
	if !saneRequestID.MatchString(id) {
		id = uuid.NewString()
		r.Header.Set(headerRequestID, id)
	}
	return id
}

// accessLog writes one line for each request.
func (s *Server) accessLog(c *gin.Context) {
	began := time.Now()
	c.Next()
	level := slog.LevelInfo
	if c.Writer.Status() >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	ctx := c.Request.Context()
	if !s.Log.Enabled(ctx, level) {
		return
	}
	s.Log.LogAttrs(ctx, level, "request", slog.String("method", c.Request.Method), slog.String("route", c.FullPath()),
		slog.Int("status", c.Writer.Status()), slog.Duration("took", time.Since(began)),
		slog.String("request_id", c.Writer.Header().Get(headerRequestID)), slog.String("errors", strings.Join(c.Errors.Errors(), "; ")))
}

// authenticate lets verified tokens pass.
func (s *Server) authenticate(c *gin.Context) {
	scheme, token, found := strings.Cut(c.GetHeader("Authorization"), " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		s.fail(c, auth.ErrUnauthenticated)
		return
	}
	caller, err := s.Verifier.Verify(c.Request.Context(), strings.TrimSpace(token))
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Set(keyCaller, caller)
	c.Next()
}

// caller is who the request's token speaks for.
func caller(c *gin.Context) auth.Caller { return c.MustGet(keyCaller).(auth.Caller) }

// actsForOthers says that who may name any user.
func actsForOthers(who auth.Caller) bool { return who.Has(roleShop) || who.Has(roleOperator) }

// by is how who is named in timelines and events.
func by(who auth.Caller) string {
	switch {
	case who.Has(roleOperator):
		return roleOperator + ":" + who.Subject
	case who.Has(roleShop):
		return roleShop + ":" + who.Subject
	}
	return who.Subject
}

// only lets callers with the role pass, and operators.
func (s *Server) only(role string) gin.HandlerFunc {
	return func(c *gin.Context) {
		if who := caller(c); !who.Has(role) && !who.Has(roleOperator) {
			s.fail(c, errForbidden)
			return
		}
		c.Next()
	}
}

// findOrder reads the order of the path, if the caller may know of it. A malformed, a missing and a stranger's id look
// alike.
func (s *Server) findOrder(c *gin.Context) {
	o, err := s.Books.Get(c.Request.Context(), c.Param("id"))
	if who := caller(c); err == nil && o.UserID != who.Subject && !actsForOthers(who) {
		err = order.Missing()
	}
	if err != nil {
		s.fail(c, fmt.Errorf("find order %s: %w", c.Param("id"), err))
		return
	}
	c.Set(keyOrder, o)
	c.Next()
}

func orderOf(c *gin.Context) order.Order { return c.MustGet(keyOrder).(order.Order) }
