package httpapi

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/store"
)

func (s *Server) show(c *gin.Context) { c.JSON(http.StatusOK, viewOrder(orderOf(c))) }

// list is a page of one user's orders, newest first.
func (s *Server) list(c *gin.Context) {
	user, err := userOf(caller(c), c.Query("userId"))
	if err != nil {
		s.fail(c, err)
		return
	}
	limit, err := limitOf(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	q := store.Query{UserID: user, Status: order.Status(c.Query("status")), Limit: limit, Cursor: c.Query("cursor")}
	if q.Status != "" && !q.Status.Known() {
		s.fail(c, invalid("status", "is no state of an order"))
		return
	}
	page, next, err := s.Books.List(c.Request.Context(), q)
	if err != nil {
		s.fail(c, fmt.Errorf("list orders: %w", err))
		return
	}
	out := struct {
		Orders []orderView `json:"orders"`
		Next   string      `json:"next,omitempty"`
	}{[]orderView{}, next}
	for _, o := range page {
		out.Orders = append(out.Orders, viewOrder(o))
	}
	c.JSON(http.StatusOK, out)
}

// pay notes a payment. A payment that the order does not take is noted too, as due for refund, and refused.
func (s *Server) pay(c *gin.Context) {
	if who := caller(c); !actsForOthers(who) && !s.TrustCaptured {
		s.fail(c, errForbidden)
		return
	}
	var in struct {
		PaymentRef string `json:"paymentRef"`
	}
	if err := read(c, &in); err != nil {
		s.fail(c, err)
		return
	}
	if err := order.CheckText("paymentRef", in.PaymentRef, 1, order.MaxPaymentRef); err != nil {
		s.fail(c, err)
		return
	}
	o, err := s.Books.Pay(c.Request.Context(), orderOf(c).ID, in.PaymentRef, by(caller(c)))
	s.Wake()
	s.answer(c, o, nil, err)
}

func (s *Server) cancel(c *gin.Context) {
	reason, err := reasonOf(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	o, freed, err := s.Books.Cancel(c.Request.Context(), orderOf(c).ID, by(caller(c)), reason)
	s.answer(c, o, freed, err)
}

func (s *Server) refund(c *gin.Context) {
	reason, err := reasonOf(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	o, freed, err := s.Books.Refund(c.Request.Context(), orderOf(c).ID, by(caller(c)), reason)
	s.answer(c, o, freed, err)
}

// reasonOf reads {"reason":…}; a body that is not there gives no reason.
func reasonOf(c *gin.Context) (string, error) {
	if c.Request.ContentLength == 0 {
		return "", nil
	}
	var in struct {
		Reason string `json:"reason"`
	}
	if err := read(c, &in); err != nil {
		return "", err
	}
	return in.Reason, order.CheckText("reason", in.Reason, 0, order.MaxReason)
}

// answer shows an order after a move, and tells who waits for what the move freed.
func (s *Server) answer(c *gin.Context, o order.Order, freed map[string]int64, err error) {
	if err != nil {
		s.fail(c, fmt.Errorf("move order %s: %w", c.Param("id"), err))
		return
	}
	s.Wake()
	if len(freed) > 0 {
		s.Freed(c.Request.Context(), slices.Sorted(maps.Keys(freed))...)
	}
	c.JSON(http.StatusOK, viewOrder(o))
}

// hide takes an ended order out of its owner's lists.
func (s *Server) hide(c *gin.Context) {
	o, who := orderOf(c), caller(c)
	if o.UserID != who.Subject && !who.Has(roleOperator) {
		s.fail(c, errForbidden)
		return
	}
	if err := s.Books.Hide(c.Request.Context(), o.ID); err != nil {
		s.fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

// timeline is all that is known of the order's life, oldest first.
func (s *Server) timeline(c *gin.Context) {
	entries, err := s.Books.Timeline(c.Request.Context(), orderOf(c).ID)
	if err != nil {
		s.fail(c, err)
		return
	}
	out := struct {
		Entries []entryView `json:"entries"`
	}{[]entryView{}}
	for _, e := range entries {
		out.Entries = append(out.Entries, viewEntry(e))
	}
	c.JSON(http.StatusOK, out)
}
