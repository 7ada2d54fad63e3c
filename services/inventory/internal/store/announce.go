package store

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/proto/event"
	stockv1 "github.com/floodgate-dev/floodgate/proto/floodgate/stock/v1"
	"github.com/floodgate-dev/floodgate/services/inventory/internal/stock"
)

// announceBookings announces what was booked and what was released; that units left, logistics says.
func announceBookings(ctx context.Context, d database.Dialect, moves []move, atMS int64) (database.Statement, error) {
	var events []outbox.Event
	for _, m := range moves {
		var ev outbox.Event
		var err error
		switch m.step.To {
		case stock.Booked:
			ev, err = news("booked/"+m.order, m.order, 0, &stockv1.StockBooked{OrderId: m.order, Lines: lines(m), AtUnixMs: atMS})
		case stock.Released:
			ev, err = news("released/"+m.order, m.order, 0, &stockv1.StockReleased{OrderId: m.order, Lines: lines(m), AtUnixMs: atMS})
		default:
			continue
		}
		if err != nil {
			return database.Statement{}, err
		}
		events = append(events, ev)
	}
	return outbox.Append(ctx, d, events...)
}

func lines(m move) []*stockv1.StockLine {
	all := make([]*stockv1.StockLine, len(m.lines))
	for i, l := range m.lines {
		all[i] = &stockv1.StockLine{SkuId: l.SKU, Units: int64(l.Units)}
	}
	return all
}

func announceItemTx(ctx context.Context, tx *database.Tx, i stock.Item, version, atMS int64) error {
	return announceTx(ctx, tx, fmt.Sprintf("item/%s/%d", i.SKU, version), i.SKU, version, &stockv1.ItemListed{
		SkuId: i.SKU, Version: version, Name: i.Name, UnitPriceCents: int64(i.UnitPrice), Currency: i.Currency,
		PerCustomerLimit: i.PerCustomerLimit, AtUnixMs: atMS,
	})
}

func announceRetiredTx(ctx context.Context, tx *database.Tx, sku string, version, atMS int64) error {
	return announceTx(ctx, tx, fmt.Sprintf("item/%s/%d", sku, version), sku, version,
		&stockv1.ItemRetired{SkuId: sku, Version: version, AtUnixMs: atMS})
}

// announceChangeTx grants what came and revokes what went, under the name of the request that said so. No item's name
// holds a slash, so no two requests share a name.
func announceChangeTx(ctx context.Context, tx *database.Tx, c stock.Change, effect stock.Levels, atMS int64) error {
	id := c.SKU + "/" + c.Request
	if effect.Granted > 0 {
		return announceTx(ctx, tx, "grant/"+id, c.SKU, 0,
			&stockv1.StockGranted{GrantId: id, SkuId: c.SKU, Units: int64(effect.Granted), AtUnixMs: atMS})
	}
	return announceTx(ctx, tx, "revoke/"+id, c.SKU, 0,
		&stockv1.StockRevoked{RevokeId: id, SkuId: c.SKU, Units: int64(effect.Revoked), AtUnixMs: atMS})
}

func announceTx(ctx context.Context, tx *database.Tx, id, key string, version int64, m proto.Message) error {
	ev, err := news(id, key, version, m)
	if err != nil {
		return err
	}
	return outbox.AppendTx(ctx, tx, ev)
}

func news(id, key string, version int64, m proto.Message) (outbox.Event, error) {
	value, err := proto.Marshal(m)
	if err != nil {
		return outbox.Event{}, fmt.Errorf("encode %s: %w", id, err)
	}
	return outbox.Event{
		ID: id, Type: event.Type(m), Topic: event.StockChanges, Key: []byte(key), Value: value, Version: version,
	}, nil
}
