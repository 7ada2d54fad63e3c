package logistics

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/proto/event"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	"github.com/floodgate-dev/floodgate/services/logistics/internal/shipment"
	"github.com/floodgate-dev/floodgate/services/logistics/internal/store"
)

// handle applies a batch of order-status-changes. It is a kafka.Handler.
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

// read says what a record means for a shipment, if it means anything.
func read(record kafka.Record) (fact store.Fact, means bool, err error) {
	message, err := event.Decode(record.Type(), record.Value)
	if err != nil {
		return fact, false, kafka.Undecodable(err)
	}
	move, is := message.(*orderv1.OrderStatusChanged)
	if !is {
		return fact, false, nil
	}
	news, err := told(move)
	if err != nil || news == "" {
		return fact, false, err
	}
	order, err := uuid.Parse(move.GetOrderId())
	if err != nil {
		return fact, false, kafka.Permanent("malformed-order", fmt.Errorf("the order's id %q is no UUID", move.GetOrderId()))
	}
	return store.Fact{Order: order, News: news, By: move.GetBy()}, true, nil
}

// told says what an order's move means for its shipment; none where it means nothing. That an order shipped or was
// delivered is what logistics itself said, and a refund after that leaves the goods with the customer.
func told(move *orderv1.OrderStatusChanged) (shipment.News, error) {
	from, to := move.GetFrom(), move.GetTo()
	switch {
	case from == orderv1.OrderStatus_ORDER_STATUS_UNSPECIFIED || to == orderv1.OrderStatus_ORDER_STATUS_UNSPECIFIED:
		return "", kafka.Undecodable(errors.New("the move names no state"))
	case to == orderv1.OrderStatus_ORDER_STATUS_PAID:
		return shipment.Paid, nil
	case to == orderv1.OrderStatus_ORDER_STATUS_REFUNDED && from == orderv1.OrderStatus_ORDER_STATUS_PAID:
		return shipment.Refunded, nil
	}
	return "", nil
}
