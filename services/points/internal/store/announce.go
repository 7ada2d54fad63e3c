package store

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/proto/event"
	pointsv1 "github.com/floodgate-dev/floodgate/proto/floodgate/points/v1"
)

// announce puts one event into the outbox for each new entry; an order's award stands before what takes it back.
func announce(ctx context.Context, d database.Dialect, awarded, taken []entry) (database.Statement, error) {
	events := make([]outbox.Event, 0, len(awarded)+len(taken))
	for _, e := range awarded {
		ev, err := news("points-awarded/"+e.order, e.order, &pointsv1.PointsAwarded{
			OrderId: e.order, UserId: e.user, Points: int64(e.points), AtUnixMs: e.atMS,
		})
		if err != nil {
			return database.Statement{}, err
		}
		events = append(events, ev)
	}
	for _, e := range taken {
		ev, err := news("points-taken-back/"+e.order, e.order, &pointsv1.PointsTakenBack{
			OrderId: e.order, UserId: e.user, Points: -int64(e.points), AtUnixMs: e.atMS,
		})
		if err != nil {
			return database.Statement{}, err
		}
		events = append(events, ev)
	}
	return outbox.Append(ctx, d, events...)
}

func news(id, order string, m proto.Message) (outbox.Event, error) {
	value, err := proto.Marshal(m)
	if err != nil {
		return outbox.Event{}, fmt.Errorf("encode %s: %w", id, err)
	}
	return outbox.Event{ID: id, Type: event.Type(m), Topic: event.PointsChanges, Key: []byte(order), Value: value}, nil
}
