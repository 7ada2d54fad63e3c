package httpapi

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/tracing"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// placeRequest is an order as a caller writes it: one item, or a list of them.
type placeRequest struct {
	SkuID     *string           `json:"skuId"`
	Quantity  *int64            `json:"quantity"`
	Items     []lineRequest     `json:"items"`
	UserID    string            `json:"userId"`
	Payment   string            `json:"payment"`
	Reference string            `json:"reference"`
	Metadata  map[string]string `json:"metadata"`
}

type lineRequest struct {
	SkuID    string `json:"skuId"`
	Quantity int64  `json:"quantity"`
}

// place takes an order. 201 means that it is durable; a repeat of its key gets the same answer.
func (s *Server) place(c *gin.Context) {
	draft, err := s.draft(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	if err := s.admitSkus(c.Request.Context(), draft.Lines); err != nil {
		s.fail(c, err)
		return
	}
	tracing.SoFar(c.Request.Context(), "middleware")
	verdict, err := s.Orders.Place(c.Request.Context(), draft)
	if err == nil {
		err = verdict.Err
	}
	if err != nil {
		s.fail(c, fmt.Errorf("place order %s: %w", draft.ID, err))
		return
	}
	if verdict.Replayed {
		c.Header("Idempotent-Replayed", "true")
	}
	c.Header("Location", "/api/v1/orders/"+verdict.Order.ID)
	c.JSON(http.StatusCreated, viewOrder(verdict.Order))
}

// draft is what the caller wants, checked as far as it can be without asking anyone.
func (s *Server) draft(c *gin.Context) (order.Draft, error) {
	key, err := parseKey(c.Request.Header.Values("Idempotency-Key"))
	if err != nil {
		return order.Draft{}, err
	}
	var in placeRequest
	if err := read(c, &in); err != nil {
		return order.Draft{}, err
	}
	lines, err := in.lines()
	if err != nil {
		return order.Draft{}, err
	}
	who := caller(c)
	d := order.Draft{
		Key: key, Lines: lines, Window: s.PaymentWindow, Reference: in.Reference, Metadata: in.Metadata, By: by(who),
	}
	if d.UserID, err = userOf(who, in.UserID); err != nil {
		return order.Draft{}, err
	}
	if d.Payment, err = s.paymentOf(who, in.Payment); err != nil {
		return order.Draft{}, err
	}
	if err := in.check(d); err != nil {
		return order.Draft{}, err
	}
	d.Lines = order.Sum(d.Lines)
	if d.Key != "" {
		d.Fingerprint = d.Print()
	}
	id, err := uuid.NewV7()
	if err != nil {
		return order.Draft{}, fmt.Errorf("make an order id: %w", err)
	}
	d.ID = id.String()
	return d, nil
}

// lines are the lines as written, of either form.
func (r placeRequest) lines() ([]order.Line, error) {
	if r.single() && r.Items != nil {
		return nil, invalid("items", "goes without skuId and quantity: send one form or the other")
	}
	if r.single() {
		var l order.Line
		if r.SkuID != nil {
			l.SkuID = *r.SkuID
		}
		if r.Quantity != nil {
			l.Quantity = *r.Quantity
		}
		return []order.Line{l}, nil
	}
	lines := make([]order.Line, len(r.Items))
	for i, l := range r.Items {
		lines[i] = order.Line(l)
	}
	return lines, nil
}

func (r placeRequest) single() bool { return r.SkuID != nil || r.Quantity != nil }

// check is the draft's own, its complaints in the words of the form that was sent.
func (r placeRequest) check(d order.Draft) error {
	err := d.Check()
	refusal, is := err.(*order.Error) //nolint:errorlint // Check returns this type or nil
	if !is || !r.single() {
		return err
	}
	for i := range refusal.Fields {
		refusal.Fields[i].Field = strings.TrimPrefix(refusal.Fields[i].Field, "items[0].")
	}
	return refusal
}

// userOf is whose order it will be.
func userOf(who auth.Caller, named string) (string, error) {
	if named == "" || named == who.Subject {
		return who.Subject, nil
	}
	if !actsForOthers(who) {
		return "", errForbidden
	}
	return named, nil
}

// paymentOf says when the money comes: captured where the caller may say so and says nothing else.
func (s *Server) paymentOf(who auth.Caller, asked string) (order.PaymentMode, error) {
	may := actsForOthers(who) || s.TrustCaptured
	switch {
	case asked == "" && may:
		return order.Captured, nil
	case asked == "":
		return order.Deferred, nil
	case order.PaymentMode(asked) == order.Captured && !may:
		return "", errForbidden
	}
	return order.PaymentMode(asked), nil // Draft.Check knows the words
}
