// Package event names what travels on Kafka: the topics, the consumer groups, and the type of each message. It is the
// one list that services, Helm, compose and the documentation agree on.
package event

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	// Decode finds types in the registry, where importing them puts them.
	_ "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	_ "github.com/floodgate-dev/floodgate/proto/floodgate/points/v1"
	_ "github.com/floodgate-dev/floodgate/proto/floodgate/shipment/v1"
	_ "github.com/floodgate-dev/floodgate/proto/floodgate/stock/v1"
)

// Topics that carry events.
const (
	OrderCreated       = "order_created"
	OrderStatusChanges = "order-status-changes"
	StockChanges       = "stock-changes"
	PointsChanges      = "points-changes"
	ShipmentChanges    = "shipment-changes"
)

// Groups that consume them.
const (
	Inventory       = "inventory"
	Points          = "points"
	Logistics       = "logistics"
	OrderAPI        = "order-api"
	OrderStateCheck = "order-state-check"
	DLQReplayer     = "dlq-replayer" // collects what the others gave up
)

// Topics lists every topic that carries events.
func Topics() []string {
	return []string{OrderCreated, OrderStatusChanges, StockChanges, PointsChanges, ShipmentChanges}
}

// Groups lists every group that consumes them; each has a replay topic of its own.
func Groups() []string {
	return []string{Inventory, Points, Logistics, OrderAPI, OrderStateCheck}
}

// Type is the CloudEvents type of m: its full protobuf name.
func Type(m proto.Message) string {
	return string(m.ProtoReflect().Descriptor().FullName())
}

// ErrUnknownType says that an event's type is none of Floodgate's.
var ErrUnknownType = errors.New("unknown event type")

// Decode reads an event by its CloudEvents type. No retry cures its errors.
func Decode(eventType string, value []byte) (proto.Message, error) {
	mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(eventType))
	if err != nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknownType, eventType)
	}
	m := mt.New().Interface()
	if err := proto.Unmarshal(value, m); err != nil {
		return nil, fmt.Errorf("decode %s: %w", eventType, err)
	}
	return m, nil
}
