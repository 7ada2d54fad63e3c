package outbox_test

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

func traced(id byte, flags trace.TraceFlags) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{id}, SpanID: trace.SpanID{id}, TraceFlags: flags})
}

// TestEachEventKeepsItsOwnTrace appends events of many in one statement.
func TestEachEventKeepsItsOwnTrace(t *testing.T) {
	t.Parallel()
	const own = "00-01000000000000000000000000000000-0100000000000000-01"
	recorded, not := traced(1, trace.FlagsSampled), traced(2, 0)
	for name, c := range map[string]struct {
		ctx  func(context.Context) context.Context
		want map[string]string // by key
	}{
		"Nobodys": {func(ctx context.Context) context.Context { return ctx }, map[string]string{"a": "", "b": "", "c": ""}},
		"TheContexts": {
			func(ctx context.Context) context.Context { return trace.ContextWithSpanContext(ctx, recorded) },
			map[string]string{"a": own, "b": own, "c": own},
		},
		"TheContextsIsNotRecorded": {
			func(ctx context.Context) context.Context { return trace.ContextWithSpanContext(ctx, not) },
			map[string]string{"a": "", "b": "", "c": ""},
		},
		"ThatOfTheKey": {func(ctx context.Context) context.Context {
			ctx = trace.ContextWithSpanContext(ctx, traced(3, trace.FlagsSampled)) // the first one's: the others' are not in it
			return outbox.WithTraces(ctx, outbox.Traces{"a": recorded, "b": not})
		}, map[string]string{"a": own, "b": "", "c": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
				t.Helper()
				migrated(t, db)
				ctx := c.ctx(t.Context())
				err := db.Tx(ctx, func(tx *database.Tx) error {
					return outbox.AppendTx(ctx, tx, outbox.Event{ID: "1", Topic: "t", Key: []byte("a")},
						outbox.Event{ID: "2", Topic: "t", Key: []byte("b")}, outbox.Event{ID: "3", Topic: "t", Key: []byte("c")})
				})
				if err != nil {
					t.Fatal(err)
				}
				rows, err := db.QueryContext(t.Context(), "SELECT key, traceparent FROM outbox ORDER BY id")
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = rows.Close() }() // its error is in rows.Err
				for rows.Next() {
					var key []byte
					var parent string
					if err := rows.Scan(&key, &parent); err != nil {
						t.Fatal(err)
					}
					if parent != c.want[string(key)] {
						t.Errorf("%s travels with %q, want %q", key, parent, c.want[string(key)])
					}
				}
				if err := rows.Err(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// TestARecordedEventIsTheExampleOfItsAcknowledgement among others that nobody records.
func TestARecordedEventIsTheExampleOfItsAcknowledgement(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		migrated(t, db)
		reader := metric.NewManualReader()
		run(t, outbox.RelayConfig{DB: db, Sender: &broker{}, Source: "/test", Meter: metric.NewMeterProvider(metric.WithReader(reader))})
		ctx := outbox.WithTraces(t.Context(), outbox.Traces{"a": traced(1, trace.FlagsSampled), "b": traced(2, 0)})
		err := db.Tx(ctx, func(tx *database.Tx) error {
			return outbox.AppendTx(ctx, tx, event("c", 1), event("b", 1), event("a", 1))
		})
		if err != nil {
			t.Fatal(err)
		}
		var examples []metricdata.Exemplar[float64]
		eventually(t, "three events are acknowledged", func() bool {
			acked := acknowledged(t, reader)
			examples = acked.Exemplars
			return acked.Count == 3
		})
		if len(examples) != 1 || trace.TraceID(examples[0].TraceID) != traced(1, 0).TraceID() {
			t.Errorf("the examples are %v, want one of trace 1", examples)
		}
	})
}

// acknowledged is what reader knows of floodgate.outbox.ack.duration.
func acknowledged(t *testing.T, reader metric.Reader) metricdata.HistogramDataPoint[float64] {
	t.Helper()
	var told metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &told); err != nil {
		t.Fatal(err)
	}
	for _, of := range told.ScopeMetrics {
		for _, m := range of.Metrics {
			if took, is := m.Data.(metricdata.Histogram[float64]); is && m.Name == "floodgate.outbox.ack.duration" && len(took.DataPoints) > 0 {
				return took.DataPoints[0]
			}
		}
	}
	return metricdata.HistogramDataPoint[float64]{}
}
