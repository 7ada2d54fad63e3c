package httpapi

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	pointsv1 "github.com/floodgate-dev/floodgate/proto/floodgate/points/v1"
	shipmentv1 "github.com/floodgate-dev/floodgate/proto/floodgate/shipment/v1"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

func (s *Server) myPoints(c *gin.Context) { s.showPoints(c, caller(c).Subject) }

func (s *Server) pointsOf(c *gin.Context) { s.showPoints(c, c.Param("id")) }

// showPoints asks points for a balance; who never bought anything has none, which is 0.
func (s *Server) showPoints(c *gin.Context, user string) {
	answer, err := ask(c.Request.Context(), s.remotes.points, s.Points.GetBalance, &pointsv1.GetBalanceRequest{UserId: user})
	if err != nil {
		s.fail(c, fmt.Errorf("points of %s: %w", user, err))
		return
	}
	c.JSON(http.StatusOK, struct {
		UserID  string `json:"userId"`
		Balance int64  `json:"balance"`
	}{user, answer.GetBalancePoints()})
}

// shipment is the parcel of an order; not found until the order is paid.
func (s *Server) shipment(c *gin.Context) {
	answer, err := ask(c.Request.Context(), s.remotes.logistics, s.Logistics.GetShipment,
		&shipmentv1.GetShipmentRequest{OrderId: orderOf(c).ID})
	if err != nil {
		s.fail(c, fmt.Errorf("shipment of order %s: %w", orderOf(c).ID, err))
		return
	}
	c.JSON(http.StatusOK, viewShipment(answer.GetShipment()))
}

// carrierNews passes on what a carrier says of a parcel.
func (s *Server) carrierNews(c *gin.Context) {
	if _, err := uuid.Parse(c.Param("id")); err != nil {
		s.fail(c, &order.Error{Code: order.NotFound, Message: "there is no such shipment"})
		return
	}
	var in struct {
		Status     string `json:"status"`
		Carrier    string `json:"carrier"`
		TrackingNo string `json:"trackingNo"`
	}
	if err := read(c, &in); err != nil {
		s.fail(c, err)
		return
	}
	news := map[string]shipmentv1.ShipmentStatus{
		"shipped": shipmentv1.ShipmentStatus_SHIPMENT_STATUS_SHIPPED, "delivered": shipmentv1.ShipmentStatus_SHIPMENT_STATUS_DELIVERED,
	}[in.Status]
	if news == shipmentv1.ShipmentStatus_SHIPMENT_STATUS_UNSPECIFIED {
		s.fail(c, invalid("status", "must be shipped or delivered"))
		return
	}
	answer, err := ask(c.Request.Context(), s.remotes.logistics, s.Logistics.ReportCarrierNews, &shipmentv1.ReportCarrierNewsRequest{
		ShipmentId: c.Param("id"), Status: news, Carrier: in.Carrier, TrackingNo: in.TrackingNo, By: by(caller(c)),
	})
	if err != nil {
		s.fail(c, fmt.Errorf("news of shipment %s: %w", c.Param("id"), err))
		return
	}
	c.JSON(http.StatusOK, viewShipment(answer.GetShipment()))
}
