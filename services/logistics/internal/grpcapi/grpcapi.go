// Package grpcapi answers questions about shipments and hears carriers' news. An answer to news is durable.
package grpcapi

import (
	"context"

	"github.com/google/uuid"

	"github.com/floodgate-dev/floodgate/pkg/database"
	shipmentv1 "github.com/floodgate-dev/floodgate/proto/floodgate/shipment/v1"
	"github.com/floodgate-dev/floodgate/services/logistics/internal/shipment"
	"github.com/floodgate-dev/floodgate/services/logistics/internal/store"
)

// Server is the LogisticsService.
type Server struct {
	shipmentv1.UnimplementedLogisticsServiceServer
	DB *database.DB
}

// GetShipment finds an order's shipment.
func (s Server) GetShipment(ctx context.Context, r *shipmentv1.GetShipmentRequest) (*shipmentv1.GetShipmentResponse, error) {
	order, err := id("order_id", r.GetOrderId())
	if err != nil {
		return nil, fail(ctx, err)
	}
	found, err := store.Of(ctx, s.DB, order)
	if err != nil {
		return nil, fail(ctx, err)
	}
	return &shipmentv1.GetShipmentResponse{Shipment: store.Proto(found)}, nil
}

// carriers are the states that a carrier may report.
var carriers = map[shipmentv1.ShipmentStatus]shipment.News{
	shipmentv1.ShipmentStatus_SHIPMENT_STATUS_SHIPPED:   shipment.OnItsWay,
	shipmentv1.ShipmentStatus_SHIPMENT_STATUS_DELIVERED: shipment.HandedOut,
}

// ReportCarrierNews moves a shipment; the same news again changes nothing.
func (s Server) ReportCarrierNews(
	ctx context.Context, r *shipmentv1.ReportCarrierNewsRequest,
) (*shipmentv1.ReportCarrierNewsResponse, error) {
	which, err := id("shipment_id", r.GetShipmentId())
	if err != nil {
		return nil, fail(ctx, err)
	}
	report := shipment.Report{
		Shipment: which.String(), News: carriers[r.GetStatus()], Carrier: r.GetCarrier(), TrackingNo: r.GetTrackingNo(), By: r.GetBy(),
	}
	if err := report.Check(); err != nil {
		return nil, fail(ctx, err)
	}
	after, err := store.Hear(ctx, s.DB, report)
	if err != nil {
		return nil, fail(ctx, err)
	}
	return &shipmentv1.ReportCarrierNewsResponse{Shipment: store.Proto(after)}, nil
}

func id(field, value string) (uuid.UUID, error) {
	parsed, err := uuid.Parse(value)
	if err != nil {
		return parsed, &shipment.Invalid{Field: field, Message: "must be a UUID"}
	}
	return parsed, nil
}
