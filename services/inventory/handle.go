package inventory

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/proto/event"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	"github.com/floodgate-dev/floodgate/services/inventory/internal/stock"
	"github.com/floodgate-dev/floodgate/services/inventory/internal/store"
)

// handle applies a batch of order_created and order-status-changes. It is a kafka.Handler.
func handle(ctx context.Context, tx *database.Tx, records []kafka.Record) ([]bool, error) {
	facts := make([]store.Fact, 0, len(records))
	from := make([]int, 0, len(records)) // the record of each fact
	for i, record := range records {
		fact, means, err := read(record)
		if err != nil {
			return nil, err
		}
		if means {
			facts, from = append(facts, fact), append(from, i)
		}
	}
	moved, err := store.ApplyTx(ctx, tx, facts)
	if err != nil {
		return nil, err
	}
	changed := make([]bool, len(records))
	for i, did := range moved {
		changed[from[i]] = did
	}
	return changed, nil
}

// read says what a record means for a booking, if it means anything.
func read(record kafka.Record) (fact store.Fact, means bool, err error) {
	message, err := event.Decode(record.Type(), record.Value)
	if err != nil {
		return fact, false, kafka.Undecodable(err)
	}
	order, news, err := told(message)
	if err != nil || news == "" {
		return fact, false, err
	}
	fact, err = factOf(order, news)
	if err != nil {
		return fact, false, kafka.Permanent("malformed-order", fmt.Errorf("order %q: %w", order.GetId(), err))
	}
	return fact, true, nil
}

// told says which news a message brings about which order; none where it means nothing for stock. That an order was
// confirmed or paid follows from its booking.
func told(message proto.Message) (*orderv1.Order, stock.News, error) {
	switch m := message.(type) {
	case *orderv1.OrderCreated:
		return m.GetOrder(), stock.Ordered, nil
	case *orderv1.OrderStatusChanged:
		news, err := toldByMove(m)
		return m.GetOrder(), news, err
	}
	return nil, "", nil
}

func toldByMove(m *orderv1.OrderStatusChanged) (stock.News, error) {
	if m.GetFrom() == orderv1.OrderStatus_ORDER_STATUS_UNSPECIFIED || m.GetTo() == orderv1.OrderStatus_ORDER_STATUS_UNSPECIFIED {
		return "", kafka.Undecodable(errors.New("the move names no state"))
	}
	switch m.GetTo() {
	case orderv1.OrderStatus_ORDER_STATUS_CANCELLED:
		return stock.Ended, nil
	case orderv1.OrderStatus_ORDER_STATUS_REFUNDED:
		if m.GetFrom() == orderv1.OrderStatus_ORDER_STATUS_PAID {
			return stock.Ended, nil
		}
		return stock.Left, nil // refunded after it shipped: its units are gone
	case orderv1.OrderStatus_ORDER_STATUS_SHIPPED, orderv1.OrderStatus_ORDER_STATUS_DELIVERED:
		return stock.Left, nil
	}
	return "", nil
}

// factOf checks what will be written. An end needs no lines: what it gives back is what was booked.
func factOf(o *orderv1.Order, news stock.News) (store.Fact, error) {
	id, err := uuid.Parse(o.GetId())
	if err != nil {
		return store.Fact{}, fmt.Errorf("its id %q is no UUID", o.GetId())
	}
	fact := store.Fact{Order: id.String(), News: news}
	if news == stock.Ended {
		return fact, nil
	}
	lines := make([]stock.Line, len(o.GetItems()))
	for i, item := range o.GetItems() {
		lines[i] = stock.Line{SKU: item.GetSkuId(), Units: stock.Units(item.GetQuantity())}
	}
	fact.Lines, err = stock.Lines(lines)
	return fact, err
}
