package database

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Observers are where a database tells what its statements are, how long they take and what they wait for. Each may be
// nil. A statement belongs to the trace of its context, and makes a span only if that trace is recorded.
type Observers struct {
	Log    *slog.Logger
	Meter  metric.MeterProvider
	Tracer trace.TracerProvider
}

const scope = "github.com/floodgate-dev/floodgate/pkg/database"

// observer sees every statement of a DB.
type observer struct {
	statements catalogue
	tracer     trace.Tracer // nil: no spans
	duration   metric.Float64Histogram
	wait       metric.Float64Histogram
	slow       *slow // nil: nobody is told
	of         *DB
	stop       func() error
}

func newObserver(system, namespace string, cfg Config, o Observers) (*observer, error) {
	if o.Meter == nil {
		return nil, nil //nolint:nilnil // nobody looks
	}
	m := o.Meter.Meter(scope)
	base := []attribute.KeyValue{attribute.String("db.system.name", system)}
	if namespace != "" {
		base = append(base, attribute.String("db.namespace", namespace))
	}
	out := &observer{statements: catalogue{base: base}, stop: func() error { return nil }}
	if o.Tracer != nil {
		out.tracer = o.Tracer.Tracer(scope)
	}
	if o.Log != nil && cfg.Slow > 0 {
		out.slow = newSlow(cfg.Slow, o.Log)
	}
	var err, err2 error
	out.duration, err = m.Float64Histogram("db.client.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("How long statements took, by their summary"))
	out.wait, err2 = m.Float64Histogram("db.client.connection.wait_time", metric.WithUnit("s"),
		metric.WithDescription("How long a transaction waited for a connection of the pool"))
	return out, errors.Join(err, err2)
}

// poolName is how a pool is told of: by its name, and nothing that grows with trade.
type poolName struct {
	set    attribute.Set
	record []metric.RecordOption
}

// The pools of a service's own database. That of Redis is called redis.
var (
	mainPool   = newPoolName("database")
	steadyPool = newPoolName("steady") // the connections that keep their plans
)

func newPoolName(name string) poolName {
	set := attribute.NewSet(attribute.String("db.client.connection.pool.name", name))
	return poolName{set, []metric.RecordOption{metric.WithAttributeSet(set)}}
}

// pools are those of db by their names.
func (db *DB) pools() map[*poolName]*sql.DB {
	all := map[*poolName]*sql.DB{&mainPool: db.DB}
	if db.steady != nil {
		all[&steadyPool] = db.steady
	}
	return all
}

// watch reads the pools' own counters whenever somebody asks for metrics.
func (o *observer) watch(provider metric.MeterProvider, pools map[*poolName]*sql.DB) error {
	m := provider.Meter(scope)
	count, err1 := m.Int64ObservableUpDownCounter("db.client.connection.count", metric.WithUnit("{connection}"),
		metric.WithDescription("Connections of the pool, by state"))
	most, err2 := m.Int64ObservableUpDownCounter("db.client.connection.max", metric.WithUnit("{connection}"),
		metric.WithDescription("The most connections the pool may have"))
	waits, err3 := m.Int64ObservableCounter("floodgate.database.pool.waits", metric.WithUnit("{wait}"),
		metric.WithDescription("Times that somebody had to wait for a connection of the pool"))
	waited, err4 := m.Float64ObservableCounter("floodgate.database.pool.wait.time", metric.WithUnit("s"),
		metric.WithDescription("How long all who waited for a connection waited together"))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	registered, err := m.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		for name, pool := range pools {
			s, all := pool.Stats(), metric.WithAttributeSet(name.set)
			to.ObserveInt64(count, int64(s.InUse), all, metric.WithAttributes(attribute.String("db.client.connection.state", "used")))
			to.ObserveInt64(count, int64(s.Idle), all, metric.WithAttributes(attribute.String("db.client.connection.state", "idle")))
			to.ObserveInt64(most, int64(s.MaxOpenConnections), all)
			to.ObserveInt64(waits, s.WaitCount, all)
			to.ObserveFloat64(waited, s.WaitDuration.Seconds(), all)
		}
		return nil
	}, count, most, waits, waited)
	if err == nil {
		o.stop = registered.Unregister
	}
	return err
}

// asked is one statement, or one batch, under way on a connection.
type asked struct {
	what  *statement
	began time.Time
	sql   string
	args  []any
	batch *pgx.Batch
	span  trace.Span // nil where the trace is not recorded
}

// begin notes the start of a statement. It allocates nothing unless the trace is recorded.
func (o *observer) begin(ctx context.Context, a *asked) context.Context {
	a.began, a.span = time.Now(), nil
	if o.tracer == nil || !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx
	}
	attributes := append(a.what.attributes(), attribute.String("db.query.text", a.sql))
	if a.batch != nil {
		attributes = append(attributes, attribute.Int("db.operation.batch.size", a.batch.Len()))
	}
	ctx, a.span = o.tracer.Start(ctx, a.what.summary, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithTimestamp(a.began), trace.WithAttributes(attributes...))
	return ctx
}

// end tells what became of it.
func (o *observer) end(ctx context.Context, a *asked, err error) {
	took := time.Since(a.began)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	if err == nil {
		o.duration.Record(ctx, took.Seconds(), a.what.ok...)
	} else {
		o.duration.Record(ctx, took.Seconds(), metric.WithAttributes(append(a.what.attributes(), attribute.String("error.type", errorType(err)))...))
	}
	if a.span != nil {
		if err != nil {
			a.span.SetStatus(codes.Error, errorType(err))
			a.span.SetAttributes(attribute.String("error.type", errorType(err)))
		}
		a.span.End()
	}
	if o.slow != nil && took >= o.slow.from {
		o.slow.note(ctx, o.of, a, took)
	}
	*a = asked{}
}

// errorType is a short stable word for err: Postgres's own code where it has one.
func errorType(err error) string {
	switch c := code(err); {
	case c != "":
		return c
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case Unavailable(err):
		return "unavailable"
	}
	return "_OTHER"
}

// waited records how long a transaction waited for its connection.
func (o *observer) waited(ctx context.Context, began time.Time, p *poolName) {
	if o != nil {
		o.wait.Record(ctx, time.Since(began).Seconds(), p.record...)
	}
}

// pgTracer is the observer as pgx calls it. A connection does one thing at a time, so what is under way is kept with it.
type pgTracer struct{ *observer }

// mine is what is under way on conn.
func mine(conn *pgx.Conn) *asked {
	kept := conn.PgConn().CustomData()
	a, known := kept[scope].(*asked)
	if !known {
		a = &asked{}
		kept[scope] = a
	}
	return a
}

// TraceQueryStart is called before a statement is sent.
func (t pgTracer) TraceQueryStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	a := mine(conn)
	a.what, a.sql, a.args, a.batch = t.statements.of(data.SQL), data.SQL, data.Args, nil
	return t.begin(ctx, a)
}

// TraceQueryEnd is called when its answer was read.
func (t pgTracer) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	if a := mine(conn); a.what != nil {
		t.end(ctx, a, data.Err)
	}
}

// TraceBatchStart is called before statements are sent together. They are one span: their answers come together too.
func (t pgTracer) TraceBatchStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	first := data.Batch.QueuedQueries[0].SQL
	if first == "begin" && data.Batch.Len() > 1 { // it says nothing of what the batch does
		first = data.Batch.QueuedQueries[1].SQL
	}
	a := mine(conn)
	a.what, a.sql, a.args, a.batch = t.statements.of(first).together(), first, nil, data.Batch
	return t.begin(ctx, a)
}

// TraceBatchQuery is called for each answer of a batch.
func (t pgTracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd is called when the last answer was read.
func (t pgTracer) TraceBatchEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchEndData) {
	if a := mine(conn); a.what != nil {
		t.end(ctx, a, data.Err)
	}
}
