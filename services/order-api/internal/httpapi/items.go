package httpapi

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	stockv1 "github.com/floodgate-dev/floodgate/proto/floodgate/stock/v1"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// items is a page of what is sold, by sku.
func (s *Server) items(c *gin.Context) {
	limit, err := limitOf(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	page, next, err := s.Books.Items(c.Request.Context(), limit, c.Query("cursor"))
	if err != nil {
		s.fail(c, fmt.Errorf("list items: %w", err))
		return
	}
	out := struct {
		Items []itemView `json:"items"`
		Next  string     `json:"next,omitempty"`
	}{[]itemView{}, next}
	for _, i := range page {
		out.Items = append(out.Items, viewItem(i))
	}
	c.JSON(http.StatusOK, out)
}

func (s *Server) item(c *gin.Context) {
	i, err := s.Items.Item(c.Request.Context(), c.Param("sku"))
	if err == nil && i.Retired {
		err = &order.Error{Code: order.NotFound, Message: "there is no such item"}
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, viewItem(i))
}

// changeAccepted says that inventory has a change durably; it is seen here when its event arrives.
type changeAccepted struct {
	SkuID   string `json:"skuId"`
	Version int64  `json:"version"`
}

// putItem asks inventory to list an item or to change it.
func (s *Server) putItem(c *gin.Context) {
	var in struct {
		Name             string `json:"name"`
		UnitPriceCents   *int64 `json:"unitPriceCents"`
		Currency         string `json:"currency"`
		PerCustomerLimit int32  `json:"perCustomerLimit"`
	}
	if err := read(c, &in); err != nil {
		s.fail(c, err)
		return
	}
	if in.UnitPriceCents == nil {
		s.fail(c, invalid("unitPriceCents", "is missing"))
		return
	}
	answer, err := ask(c.Request.Context(), s.remotes.inventory, s.Inventory.PutItem, &stockv1.PutItemRequest{
		SkuId: c.Param("sku"), Name: in.Name, UnitPriceCents: *in.UnitPriceCents, Currency: in.Currency,
		PerCustomerLimit: in.PerCustomerLimit, By: by(caller(c)),
	})
	if err != nil {
		s.fail(c, fmt.Errorf("put item %s: %w", c.Param("sku"), err))
		return
	}
	c.JSON(http.StatusAccepted, changeAccepted{c.Param("sku"), answer.GetVersion()})
}

// retireItem asks inventory to stop the sale of an item.
func (s *Server) retireItem(c *gin.Context) {
	answer, err := ask(c.Request.Context(), s.remotes.inventory, s.Inventory.RetireItem,
		&stockv1.RetireItemRequest{SkuId: c.Param("sku"), By: by(caller(c))})
	if err != nil {
		s.fail(c, fmt.Errorf("retire item %s: %w", c.Param("sku"), err))
		return
	}
	c.JSON(http.StatusAccepted, changeAccepted{c.Param("sku"), answer.GetVersion()})
}

// stockView is what inventory holds of an item after a change.
type stockView struct {
	SkuID         string `json:"skuId"`
	RequestID     string `json:"requestId"`
	OnHand        int64  `json:"onHand"`
	Ungranted     int64  `json:"ungranted"`
	GrantedUnsold int64  `json:"grantedUnsold"`
	Booked        int64  `json:"booked"`
}

// changeStock asks inventory for more units or fewer. The same requestId counts once; who sends none gets the id of
// the HTTP request.
func (s *Server) changeStock(c *gin.Context) {
	var in struct {
		Units     int64  `json:"units"`
		Reason    string `json:"reason"`
		RequestID string `json:"requestId"`
	}
	if err := read(c, &in); err != nil {
		s.fail(c, err)
		return
	}
	if in.RequestID == "" {
		in.RequestID = c.GetHeader(headerRequestID)
	}
	answer, err := ask(c.Request.Context(), s.remotes.inventory, s.Inventory.ChangeStock, &stockv1.ChangeStockRequest{
		SkuId: c.Param("sku"), UnitsDelta: in.Units, Reason: in.Reason, RequestId: in.RequestID, By: by(caller(c)),
	})
	if err != nil {
		s.fail(c, fmt.Errorf("change the stock of %s: %w", c.Param("sku"), tooFew(err)))
		return
	}
	held := answer.GetStock()
	c.JSON(http.StatusAccepted, stockView{
		SkuID: held.GetSkuId(), RequestID: in.RequestID, OnHand: held.GetOnHandUnits(), Ungranted: held.GetUngrantedUnits(),
		GrantedUnsold: held.GetGrantedUnsoldUnits(), Booked: held.GetBookedUnits(),
	})
}

// tooFew names the field of a shrinkage that is larger than what is there: no state of an order stands in its way.
func tooFew(err error) error {
	var refusal *order.Error
	if errors.As(err, &refusal) && refusal.Code == order.IllegalMove {
		return invalid("units", refusal.Message)
	}
	return err
}
