package poison

import (
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/proto/event"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	pointsv1 "github.com/floodgate-dev/floodgate/proto/floodgate/points/v1"
	shipmentv1 "github.com/floodgate-dev/floodgate/proto/floodgate/shipment/v1"
)

// record is one that a group gives up.
type record struct {
	id      string // of the event
	group   string // that gives it up
	what    string // it is
	message outbox.Message
}

// source is the ce_source of what is sent. Event ids begin with it: books count what order-api says by its own names.
const source = "poison"

// records are the four. Three are of one order that nobody accepted: the second ends what the first begins, so that once
// both are applied inventory has booked the unit and has it back. The fourth is of an order that was accepted.
func records(order, sku, accepted string, now time.Time) ([]record, error) {
	bought := &orderv1.Order{
		Id: order, UserId: source, Status: orderv1.OrderStatus_ORDER_STATUS_CREATED, Payment: orderv1.PaymentMode_PAYMENT_MODE_DEFERRED,
		Items:      []*orderv1.OrderItem{{SkuId: sku, Quantity: 1, UnitPriceCents: price}},
		TotalCents: price, Currency: "EUR", Reference: "make poison", Version: 1, CreatedAtUnixMs: now.UnixMilli(), UpdatedAtUnixMs: now.UnixMilli(),
	}
	created, err := proto.Marshal(&orderv1.OrderCreated{Order: bought})
	if err != nil {
		return nil, err
	}
	ended := proto.CloneOf(bought)
	ended.Id = order[:len(order)-1] // the field that is wrong
	ended.Status, ended.Version = orderv1.OrderStatus_ORDER_STATUS_CANCELLED, 2
	cancelled, err := proto.Marshal(&orderv1.OrderStatusChanged{
		OrderId: order, From: orderv1.OrderStatus_ORDER_STATUS_CREATED, To: orderv1.OrderStatus_ORDER_STATUS_CANCELLED,
		Version: 2, AtUnixMs: now.UnixMilli(), By: source, Order: ended,
	})
	if err != nil {
		return nil, err
	}
	shipped, err := proto.Marshal(&shipmentv1.ShipmentMoved{
		Shipment: &shipmentv1.Shipment{
			Id: accepted, OrderId: accepted[:len(accepted)-1], Status: shipmentv1.ShipmentStatus_SHIPMENT_STATUS_SHIPPED, Carrier: "Poison Parcels",
		},
		AtUnixMs: now.UnixMilli(), By: source,
	})
	if err != nil {
		return nil, err
	}
	all := []record{
		{group: event.Inventory, what: "an order for an item that was never listed", message: outbox.Message{Topic: event.OrderCreated, Value: created}},
		{group: event.Inventory, what: "the end of that order, whose id lost a character", message: outbox.Message{Topic: event.OrderStatusChanges, Value: cancelled}},
		{group: event.OrderAPI, what: "JSON where a protobuf message belongs", message: outbox.Message{
			Topic: event.PointsChanges, Value: fmt.Appendf(nil, `{"orderId":%q}`, order),
		}},
		{group: event.OrderAPI, what: "that an order which is yours was shipped, whose id lost a character", message: outbox.Message{
			Topic: event.ShipmentChanges, Value: shipped,
		}},
	}
	types := []string{event.Type(&orderv1.OrderCreated{}), event.Type(&orderv1.OrderStatusChanged{}), event.Type(&pointsv1.PointsAwarded{}), event.Type(&shipmentv1.ShipmentMoved{})}
	for i := range all {
		all[i].id = fmt.Sprintf("%s/%s/%d", source, order, i+1)
		all[i].message.Key = []byte([]string{order, order, order, accepted}[i])
		all[i].message.Headers = headers(all[i].id, types[i], i+1, now)
	}
	return all, nil
}

// headers are those that a relay writes.
func headers(id, eventType string, version int, now time.Time) (all []outbox.Header) {
	for _, h := range [...][2]string{
		{"ce_specversion", "1.0"},
		{"ce_id", id},
		{"ce_type", eventType},
		{"ce_source", source},
		{"ce_time", now.UTC().Format("2006-01-02T15:04:05.000Z07:00")},
		{"content-type", "application/protobuf"},
		{"aggregate-version", strconv.Itoa(version)},
	} {
		all = append(all, outbox.Header{Key: h[0], Value: []byte(h[1])})
	}
	return all
}
