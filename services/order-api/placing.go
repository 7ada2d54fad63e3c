package orderapi

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/pkg/telemetry"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/accept"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/gate"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/store"
)

// Placing takes orders as Run does, by group commit, but with no door, no gate and no relay: what `make bench` compares other
// ways of writing with. place has one unit of a sku sold to a user, for many callers at once, until stop is called.
func Placing(ctx context.Context, cfg Config) (place func(ctx context.Context, user, sku string) error, stop func() error, err error) {
	tel, err := telemetry.New("order-api", cfg.Telemetry)
	if err != nil {
		return nil, nil, err
	}
	db, err := database.Open(cfg.Database)
	if err != nil {
		return nil, nil, errors.Join(err, flush(ctx, tel))
	}
	end := func() error { return errors.Join(db.Close(), flush(ctx, tel)) }
	books, err := store.Open(db)
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	soldOut := gate.NewSoldOut()
	committer, err := accept.New(accept.Config{
		Books: books, Gate: gate.Off{SoldOut: soldOut}, SoldOut: soldOut, Committers: cfg.Committers, Queue: cfg.Queue,
		Wake: func() {}, Log: tel.Log, Meter: tel.Meter,
	})
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	ctx, cancel := context.WithCancel(ctx)
	g := run.NewGroup(ctx)
	g.Start("committer", committer.Run)
	place = func(ctx context.Context, user, sku string) error { return placeOne(ctx, committer, user, sku) }
	return place, func() error { cancel(); return errors.Join(g.Wait(), end()) }, nil
}

func placeOne(ctx context.Context, committer *accept.Committer, user, sku string) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	d := order.Draft{ID: id.String(), UserID: user, Key: id.String(), Lines: []order.Line{{SkuID: sku, Quantity: 1}}, Payment: order.Captured, By: user}
	d.Fingerprint = d.Print()
	verdict, err := committer.Place(ctx, d)
	if err != nil {
		return err
	}
	if !verdict.Accepted() {
		return fmt.Errorf("order %s: %w", d.ID, verdict.Err)
	}
	return nil
}
