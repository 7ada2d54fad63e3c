package store

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/proto/event"
	shipmentv1 "github.com/floodgate-dev/floodgate/proto/floodgate/shipment/v1"
	"github.com/floodgate-dev/floodgate/services/logistics/internal/shipment"
)

// announceTx puts one event into the outbox for each step. A shipment's versions follow each other without a gap.
func announceTx(ctx context.Context, tx *database.Tx, steps []step, atMS int64) error {
	events := make([]outbox.Event, len(steps))
	for i, s := range steps {
		m := message(s, atMS)
		value, err := proto.Marshal(m)
		if err != nil {
			return fmt.Errorf("encode a step of shipment %s: %w", s.shipment.ID, err)
		}
		events[i] = outbox.Event{
			ID:   "shipment/" + s.shipment.Order + "/" + strings.ReplaceAll(string(s.shipment.Status), "_", "-"),
			Type: event.Type(m), Topic: event.ShipmentChanges, Key: []byte(s.shipment.Order), Value: value,
			Version: s.shipment.Status.Version(),
		}
	}
	return outbox.AppendTx(ctx, tx, events...)
}

func message(s step, atMS int64) proto.Message {
	switch s.shipment.Status {
	case shipment.Created:
		return &shipmentv1.ShipmentCreated{Shipment: Proto(s.shipment), AtUnixMs: atMS}
	case shipment.CalledOff:
		return &shipmentv1.ShipmentCalledOff{Shipment: Proto(s.shipment), AtUnixMs: atMS}
	default:
		return &shipmentv1.ShipmentMoved{Shipment: Proto(s.shipment), AtUnixMs: atMS, By: s.by}
	}
}

var statuses = map[shipment.Status]shipmentv1.ShipmentStatus{
	shipment.Created:   shipmentv1.ShipmentStatus_SHIPMENT_STATUS_CREATED,
	shipment.Shipped:   shipmentv1.ShipmentStatus_SHIPMENT_STATUS_SHIPPED,
	shipment.Delivered: shipmentv1.ShipmentStatus_SHIPMENT_STATUS_DELIVERED,
	shipment.CalledOff: shipmentv1.ShipmentStatus_SHIPMENT_STATUS_CALLED_OFF,
}

// Proto is s in the words that services exchange.
func Proto(s shipment.Shipment) *shipmentv1.Shipment {
	return &shipmentv1.Shipment{
		Id: s.ID, OrderId: s.Order, Status: statuses[s.Status], Carrier: s.Carrier, TrackingNo: s.TrackingNo,
	}
}
