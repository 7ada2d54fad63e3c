package store_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/services/logistics/internal/shipment"
	"github.com/floodgate-dev/floodgate/services/logistics/internal/store"
)

// TestPlansOfAFullYard learns how Postgres runs what logistics does all day, on full tables.
func TestPlansOfAFullYard(t *testing.T) {
	t.Parallel()
	p := servertest.NewPlans(t, "logistics")
	p.Fill([]database.Migrations{store.Migrations, outbox.Migrations}, `
		INSERT INTO shipments (order_id, id, status)
			SELECT md5(n::text)::uuid, md5('s' || n)::uuid, 'created' FROM generate_series(1, 100000) n;
		INSERT INTO steps SELECT order_id, 'created', 'x', 0 FROM shipments`)
	var orders, shipments []string
	p.Look(`SELECT md5(n::text)::uuid::text FROM generate_series(1, 100) n`, &orders)
	p.Look(`SELECT md5('s5000')::uuid::text`, &shipments)
	p.Watch()
	const here = "services/logistics/internal/store/store.go"
	p.Path("make shipments and call them off", here, func(ctx context.Context) error {
		facts := []store.Fact{{Order: uuid.New(), News: shipment.Paid, By: "x"}}
		for _, id := range orders {
			facts = append(facts, store.Fact{Order: uuid.MustParse(id), News: shipment.Refunded, By: "x"})
		}
		return p.DB.Tx(ctx, func(tx *database.Tx) error {
			changed, err := store.ApplyTx(ctx, tx, facts)
			if err == nil && (!changed[0] || !changed[100]) {
				return errors.New("the first or the last fact moved no shipment")
			}
			return err
		})
	}, "using shipments_pkey", "Update on shipments", "Insert on steps")
	p.Path("hear what a carrier says", here, func(ctx context.Context) error {
		_, err := store.Hear(ctx, p.DB, shipment.Report{Shipment: shipments[0], News: shipment.OnItsWay, Carrier: "c", By: "x"})
		return err
	}, "using shipments_id_key")
	p.Path("find the shipment of an order", here, func(ctx context.Context) error {
		_, err := store.Of(ctx, p.DB, uuid.MustParse(orders[7]))
		return err
	}, "using shipments_pkey")
	p.Check()
}
