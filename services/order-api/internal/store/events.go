package store

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/proto/event"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// Statuses as other services read them.
var statusOf = map[order.Status]orderv1.OrderStatus{
	order.Created:   orderv1.OrderStatus_ORDER_STATUS_CREATED,
	order.Confirmed: orderv1.OrderStatus_ORDER_STATUS_CONFIRMED,
	order.Paid:      orderv1.OrderStatus_ORDER_STATUS_PAID,
	order.Shipped:   orderv1.OrderStatus_ORDER_STATUS_SHIPPED,
	order.Delivered: orderv1.OrderStatus_ORDER_STATUS_DELIVERED,
	order.Cancelled: orderv1.OrderStatus_ORDER_STATUS_CANCELLED,
	order.Refunded:  orderv1.OrderStatus_ORDER_STATUS_REFUNDED,
}

// Payment modes as other services read them.
var paymentOf = map[order.PaymentMode]orderv1.PaymentMode{
	order.Captured: orderv1.PaymentMode_PAYMENT_MODE_CAPTURED,
	order.Deferred: orderv1.PaymentMode_PAYMENT_MODE_DEFERRED,
}

// created announces version 1.
func created(o order.Order) (outbox.Event, error) {
	return announce(event.OrderCreated, o.ID, versionID(o), o.Version, &orderv1.OrderCreated{Order: whole(o)})
}

// moved announces a move with the whole order after it.
func moved(c order.Change) (outbox.Event, error) {
	return announce(event.OrderStatusChanges, c.Order.ID, versionID(c.Order), c.Order.Version, &orderv1.OrderStatusChanged{
		OrderId: c.Order.ID, From: statusOf[c.From], To: statusOf[c.Order.Status], Version: c.Order.Version,
		AtUnixMs: ms(c.Order.UpdatedAt), By: c.By, Reason: c.Order.Reason, Order: whole(c.Order),
	})
}

// refundDue announces that a payment must go back. It has no version: it is no move.
func refundDue(o order.Order, ref, reason string, at time.Time) (outbox.Event, error) {
	return announce(event.OrderStatusChanges, o.ID, "refund-due/"+o.ID+"/"+ref, 0, &orderv1.RefundDue{
		OrderId: o.ID, PaymentRef: ref, AmountCents: int64(o.TotalCents), Currency: o.Currency, AtUnixMs: ms(at),
		Reason: reason, UserId: o.UserID,
	})
}

// versionID names the event of one version of an order, whoever announces it and however often.
func versionID(o order.Order) string { return fmt.Sprintf("order/%s/%d", o.ID, o.Version) }

// moveKey names the same version in the order's timeline.
func moveKey(version int64) string { return fmt.Sprintf("move/%d", version) }

func announce(topic, key, id string, version int64, m proto.Message) (outbox.Event, error) {
	value, err := proto.Marshal(m)
	if err != nil {
		return outbox.Event{}, fmt.Errorf("encode %s: %w", id, err)
	}
	return outbox.Event{ID: id, Type: event.Type(m), Topic: topic, Key: []byte(key), Value: value, Version: version}, nil
}

func whole(o order.Order) *orderv1.Order {
	items := make([]*orderv1.OrderItem, len(o.Items))
	for i, item := range o.Items {
		items[i] = &orderv1.OrderItem{
			SkuId: item.SkuID, Quantity: int32(item.Quantity), UnitPriceCents: int64(item.UnitPriceCents), // at most 50 lines of 1,000
		}
	}
	return &orderv1.Order{
		Id: o.ID, UserId: o.UserID, Status: statusOf[o.Status], Payment: paymentOf[o.Payment], PaymentRef: o.PaymentRef,
		Items: items, TotalCents: int64(o.TotalCents), Currency: o.Currency, Reference: o.Reference, Metadata: o.Metadata,
		Version: o.Version, CreatedAtUnixMs: ms(o.CreatedAt), UpdatedAtUnixMs: ms(o.UpdatedAt),
		ExpiresAtUnixMs: ms(o.ExpiresAt), Reason: o.Reason,
	}
}
