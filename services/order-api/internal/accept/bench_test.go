package accept_test

import (
	"fmt"
	"io"
	"log/slog"
	"testing"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/accept"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/gate"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// BenchmarkUnrecorded is what a committer costs an order whose trace nobody records, alone in its batch, beside the gate and
// the database: the trace of the order names the batch.
func BenchmarkUnrecorded(b *testing.B) {
	c, err := accept.New(accept.Config{
		Books: &books{accept: sell}, Gate: gate.Off{}, SoldOut: gate.NewSoldOut(), Committers: 1, Queue: 1, Wake: func() {},
		Log: slog.New(slog.DiscardHandler), Meter: noop.NewMeterProvider(), Tracer: sdktrace.NewTracerProvider(),
	})
	must(b, err)
	run(b, c.Run)
	ctx, d := request(b, 1, 0), draft("an order")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Place(ctx, d); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPlace says how many committers are right: 64 buyers, on one hot sku and on a hundred.
func BenchmarkPlace(b *testing.B) {
	s := open(b, 1)
	const skus = 100
	facts := []order.Fact{}
	for i := range skus {
		sku := fmt.Sprint("sku ", i)
		facts = append(facts,
			order.Fact{Kind: order.ItemListed, Item: order.CatalogueItem{SkuID: sku, Name: sku, UnitPriceCents: 100, Currency: "EUR", Version: 1}},
			order.Fact{Kind: order.UnitsGranted, Grant: order.Grant{ID: sku, SkuID: sku, Units: 1 << 40}})
	}
	must(b, s.db.Tx(b.Context(), func(tx *database.Tx) error {
		_, err := s.store.ApplyTx(b.Context(), tx, facts)
		return err
	}))
	for _, of := range []int{1, skus} {
		for _, committers := range []int{1, 2, 3, 4, 8} {
			b.Run(fmt.Sprintf("skus=%d/committers=%d", of, committers), func(b *testing.B) {
				c, err := accept.New(accept.Config{
					Books: s.store, Gate: gate.Off{}, SoldOut: gate.NewSoldOut(), Committers: committers, Queue: 4096, Wake: func() {},
					Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Meter: noop.NewMeterProvider(),
				})
				must(b, err)
				run(b, c.Run)
				b.SetParallelism(32) // buyers for each of two cores
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						d := draft(uuid.NewString())
						d.Lines[0].SkuID = fmt.Sprint("sku ", i%of)
						if v, err := c.Place(b.Context(), d); err != nil || !v.Accepted() {
							b.Errorf("%+v, %v", v, err)
							return
						}
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
			})
		}
	}
}
