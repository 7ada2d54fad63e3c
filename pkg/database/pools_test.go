package database_test

import (
	"fmt"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

// TestEachPoolIsToldOf holds one connection of each pool and reads what is told: a full pool must not hide behind another.
func TestEachPoolIsToldOf(t *testing.T) {
	t.Parallel()
	cfg, reader := database.Defaults(), sdkmetric.NewManualReader()
	cfg.DSN = config.Secret(servertest.PostgresDSN(t))
	db, err := database.OpenObserved(cfg, database.Observers{Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // it was read from only
	err = db.Pipeline(t.Context(), func(*database.Pipeline) error {
		told := numbers(t, reader)
		for what, want := range map[string]int64{
			"db.client.connection.count steady used": 1, "db.client.connection.count database used": 0,
			"db.client.connection.max steady": int64(cfg.Steady()), "db.client.connection.max database": int64(cfg.MaxConns - cfg.Steady()),
			"floodgate.database.pool.waits steady": 0, "floodgate.database.pool.waits database": 0,
		} {
			if got, is := told[what]; !is || got != want {
				t.Errorf("%s is %d (%v), want %d", what, got, is, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// numbers are all whole numbers told, by name, pool and state.
func numbers(t *testing.T, reader *sdkmetric.ManualReader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	told := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, is := m.Data.(metricdata.Sum[int64])
			if !is {
				continue
			}
			for _, p := range sum.DataPoints {
				name := m.Name
				for _, key := range []string{"db.client.connection.pool.name", "db.client.connection.state"} {
					if v, has := p.Attributes.Value(attribute.Key(key)); has {
						name += fmt.Sprint(" ", v.AsString())
					}
				}
				told[name] = p.Value
			}
		}
	}
	return told
}
