package points

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/proto/event"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	"github.com/floodgate-dev/floodgate/services/points/internal/points"
	"github.com/floodgate-dev/floodgate/services/points/internal/store"
)

// told says what an order's move to a state means for points; a state that is not here means nothing.
var told = map[orderv1.OrderStatus]points.News{
	orderv1.OrderStatus_ORDER_STATUS_PAID:      points.Paid,
	orderv1.OrderStatus_ORDER_STATUS_SHIPPED:   points.Paid,
	orderv1.OrderStatus_ORDER_STATUS_DELIVERED: points.Paid,
	orderv1.OrderStatus_ORDER_STATUS_REFUNDED:  points.Refunded,
}

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

// read says what a record means for points, if it means anything.
func read(record kafka.Record) (fact store.Fact, means bool, err error) {
	message, err := event.Decode(record.Type(), record.Value)
	if err != nil {
		return fact, false, kafka.Undecodable(err)
	}
	move, is := message.(*orderv1.OrderStatusChanged)
	if !is {
		return fact, false, nil
	}
	if move.GetFrom() == orderv1.OrderStatus_ORDER_STATUS_UNSPECIFIED || move.GetTo() == orderv1.OrderStatus_ORDER_STATUS_UNSPECIFIED {
		return fact, false, kafka.Undecodable(errors.New("the move names no state"))
	}
	news, means := told[move.GetTo()]
	if !means {
		return fact, false, nil
	}
	order, err := orderOf(move.GetOrder())
	if err != nil {
		return fact, false, kafka.Permanent("malformed-order", fmt.Errorf("order %q: %w", move.GetOrderId(), err))
	}
	return store.Fact{Order: order, News: news}, true, nil
}

func orderOf(o *orderv1.Order) (points.Order, error) {
	id, err := uuid.Parse(o.GetId())
	if err != nil {
		return points.Order{}, fmt.Errorf("its id %q is no UUID", o.GetId())
	}
	order := points.Order{ID: id.String(), User: o.GetUserId(), Total: points.Cents(o.GetTotalCents())}
	return order, order.Check()
}
