// Package points owns the ledger of customers' points. A paid order earns its customer one point for every whole unit of
// currency, once; a refund takes them back, once.
package points

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/ops"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/rpc"
	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/pkg/telemetry"
	"github.com/floodgate-dev/floodgate/proto/event"
	pointsv1 "github.com/floodgate-dev/floodgate/proto/floodgate/points/v1"
	"github.com/floodgate-dev/floodgate/services/points/internal/grpcapi"
	"github.com/floodgate-dev/floodgate/services/points/internal/store"
)

// Config is all that can be set.
type Config struct {
	Run       run.Config       `mapstructure:",squash"`
	Database  database.Config  `mapstructure:",squash"`
	Kafka     kafka.Config     `mapstructure:",squash"`
	Outbox    outbox.Config    `mapstructure:",squash"`
	Telemetry telemetry.Config `mapstructure:",squash"`
}

// Defaults are the settings of a service that was told nothing; it still needs its database's DSN.
func Defaults() Config {
	return Config{
		Run: run.Defaults(9102, 9182), Database: database.Defaults(), Kafka: kafka.Defaults(), Outbox: outbox.Defaults(),
		Telemetry: telemetry.Defaults(),
	}
}

// Check says what is wrong with c, all at once; nil when nothing is.
func (c Config) Check() []string {
	return slices.Concat(c.Run.Check(), c.Database.Check(), c.Kafka.Check(), c.Outbox.Check(), c.Telemetry.Check())
}

// Command is the service's command line.
func Command() *cobra.Command {
	return run.Command(run.Service[Config]{
		Name: "points", Short: "Keeps the ledger of customers' points", Defaults: Defaults(), Check: Config.Check, Serve: Run,
		Doors:   func(c Config) run.Config { return c.Run },
		Migrate: Migrate, Database: func(c Config) database.Config { return c.Database }, Consumes: true,
		More: func(load func() (Config, error)) []*cobra.Command {
			return []*cobra.Command{outbox.Command(func() (*database.DB, error) {
				c, err := load()
				if err != nil {
					return nil, err
				}
				return database.Open(c.Database)
			})}
		},
	})
}

// migrations make the service's tables.
var migrations = []database.Migrations{outbox.Migrations, kafka.Migrations, store.Migrations}

// Migrate brings the service's tables up to date.
func Migrate(ctx context.Context, cfg Config) (err error) {
	db, err := database.Open(cfg.Database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return database.Migrate(ctx, db, migrations...)
}

// Run wires the service by hand, top to bottom, and serves until ctx ends; nil then. It stops from the bottom up: the door
// first, the relay after it, so that what was done at the end is announced too. The operations door opens first and closes
// last, so that a service that waits for its database is seen to wait, and one that drains is seen to drain.
func Run(ctx context.Context, cfg Config) (err error) {
	run.CollectLater()
	tel, err := telemetry.New("points", cfg.Telemetry)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, flush(ctx, tel)) }()
	db, err := database.OpenObserved(cfg.Database, database.Observers{Log: tel.Log, Meter: tel.Meter, Tracer: tel.Tracer})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tables := database.NewTables(db, cfg.Database, tel.Log, migrations...)
	writer := kafka.NewObservedWriter(cfg.Kafka, tel.Meter, tel.Tracer)
	defer func() { err = errors.Join(err, writer.Close()) }()
	relay := outbox.NewRelay(outbox.RelayConfig{
		DB: db, Sender: writer, Source: "points", Config: cfg.Outbox, Log: tel.Log, Meter: tel.Meter,
	})
	consumer := kafka.NewConsumer(kafka.ConsumerConfig{
		Group: event.Points, Topics: []string{event.OrderStatusChanges}, Handle: handle, DB: db, Kafka: cfg.Kafka,
		Log: tel.Log, Meter: tel.Meter, Tracer: tel.Tracer, AfterCommit: relay.Wake,
	})

	g := cfg.Run.Group(ctx)
	g.Start("ops", func(ctx context.Context) error {
		return ops.Serve(ctx, cfg.Run.OpsAddr(), tel.Handler(),
			ops.Check{Name: "database", Probe: db.Ready},
			ops.Check{Name: "tables", Probe: tables.Ready},
			ops.Check{Name: "consumer", Probe: func(context.Context) error { return consumer.Health() }})
	})
	g.Start("tables", func(ctx context.Context) error {
		if err := tables.Await(ctx); err != nil {
			return err
		}
		g.Start("relay", relay.Run)
		g.Start("consumer", func(ctx context.Context) error {
			// An absent Kafka is waited for here, beside the door: people's questions need none.
			if err := kafka.EnsureTopics(ctx, cfg.Kafka, event.Topics(), event.Groups()); err != nil {
				return err
			}
			return consumer.Run(ctx)
		})
		g.Start("grpc", func(ctx context.Context) error {
			return rpc.Serve(ctx, cfg.Run.Addr(), tel, func(s *grpc.Server) {
				pointsv1.RegisterPointsServiceServer(s, grpcapi.Server{DB: db})
			})
		})
		return nil
	})
	return g.Wait()
}

// flush sends what telemetry still holds, by a clock of its own: ctx is over by then.
func flush(ctx context.Context, tel *telemetry.Telemetry) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return tel.Shutdown(ctx)
}
