package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/services/points/internal/points"
	"github.com/floodgate-dev/floodgate/services/points/internal/store"
)

// TestPlansOfAFullLedger learns how Postgres runs what points does with each batch, on full tables.
func TestPlansOfAFullLedger(t *testing.T) {
	t.Parallel()
	p := servertest.NewPlans(t, "points")
	p.Fill([]database.Migrations{store.Migrations, outbox.Migrations}, `
		INSERT INTO ledger SELECT md5(n::text)::uuid, 'award', 'u-' || n, 10, 0 FROM generate_series(1, 100000) n;
		INSERT INTO balances SELECT 'u-' || n, 10 FROM generate_series(1, 100000) n`)
	var orders []string
	p.Look(`SELECT md5(n::text)::uuid::text FROM generate_series(1, 100) n`, &orders)
	p.Watch()
	const here = "services/points/internal/store/store.go"
	p.Path("award points and take them back", here, func(ctx context.Context) error {
		var facts []store.Fact
		for i, id := range orders {
			facts = append(facts, store.Fact{News: points.Refunded, Order: points.Order{ID: id, User: fmt.Sprint("u-", i+1), Total: 1000}})
		}
		return p.DB.Tx(ctx, func(tx *database.Tx) error {
			changed, err := store.ApplyTx(ctx, tx, facts)
			if err == nil && !changed[99] {
				return fmt.Errorf("nothing was taken back from the last order")
			}
			return err
		})
	}, "Insert on ledger", "using ledger_pkey", "Conflict Arbiter Indexes: balances_pkey")
	p.Path("read a balance", here, func(ctx context.Context) error {
		_, err := store.Balance(ctx, p.DB, "u-77")
		return err
	}, "using balances_pkey")
	p.Check()
}
