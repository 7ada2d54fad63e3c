// Package dlqreplayer collects what consumer groups gave up and shows operators what died, where and of what.
package dlqreplayer

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/ops"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/pkg/telemetry"
	"github.com/floodgate-dev/floodgate/proto/event"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/httpapi"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/store"
)

// Config is all that can be set.
type Config struct {
	Run       run.Config       `mapstructure:",squash"`
	Database  database.Config  `mapstructure:",squash"`
	Kafka     kafka.Config     `mapstructure:",squash"`
	Auth      auth.Config      `mapstructure:",squash"`
	Telemetry telemetry.Config `mapstructure:",squash"`
}

// Defaults are the settings of a service that was told nothing; it still needs its database's DSN and a key for tokens.
func Defaults() Config {
	return Config{
		Run: run.Defaults(8085, 9184), Database: database.Defaults(), Kafka: kafka.Defaults(), Telemetry: telemetry.Defaults(),
	}
}

// Check says what is wrong with c, all at once; nil when nothing is.
func (c Config) Check() []string {
	return slices.Concat(c.Run.Check(), c.Database.Check(), c.Kafka.Check(), c.Auth.Check(), c.Telemetry.Check())
}

// Command is the service's command line: the server's words, and an operator's.
func Command() *cobra.Command {
	return run.Command(run.Service[Config]{
		Name: "dlq-replayer", Short: "Collects dead letters and shows what they died of", Defaults: Defaults(), Check: Config.Check,
		Serve: Run, Migrate: Migrate, Database: func(c Config) database.Config { return c.Database }, Consumes: true,
		More: func(func() (Config, error)) []*cobra.Command {
			return []*cobra.Command{causesCommand(), lettersCommand()}
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

// Run wires the service by hand, top to bottom, and serves until ctx ends; nil then. The operations door opens first and
// closes last.
func Run(ctx context.Context, cfg Config) (err error) {
	tel, err := telemetry.New("dlq-replayer", cfg.Telemetry)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, flush(ctx, tel)) }()
	db, err := database.Open(cfg.Database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	verifier, err := auth.New(ctx, cfg.Auth)
	if err != nil {
		return err
	}
	tables := database.NewTables(db, cfg.Database, tel.Log, migrations...)
	collector := kafka.NewConsumer(kafka.ConsumerConfig{
		Group: event.DLQReplayer, Topics: []string{kafka.DeadLetters, kafka.RawErrors}, Handle: collect, Keep: true, DB: db,
		Kafka: cfg.Kafka, Log: tel.Log, Meter: tel.Meter, Tracer: tel.Tracer,
	})
	door := httpapi.New(httpapi.Config{Letters: store.Store{DB: db}, Verifier: verifier, Log: tel.Log})

	g := run.NewGroup(ctx)
	g.Start("ops", func(ctx context.Context) error {
		return ops.Serve(ctx, cfg.Run.OpsAddr(), tel.Handler(),
			ops.Check{Name: "database", Probe: db.Ready},
			ops.Check{Name: "tables", Probe: tables.Ready},
			ops.Check{Name: "collector", Probe: func(context.Context) error { return collector.Health() }})
	})
	g.Start("tables", func(ctx context.Context) error {
		if err := tables.Await(ctx); err != nil {
			return err
		}
		g.Start("collector", func(ctx context.Context) error {
			if err := kafka.EnsureTopics(ctx, cfg.Kafka, event.Topics(), event.Groups()); err != nil {
				return err
			}
			return collector.Run(ctx)
		})
		g.Start("http", func(ctx context.Context) error { return httpapi.Serve(ctx, cfg.Run.Addr(), door) })
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
