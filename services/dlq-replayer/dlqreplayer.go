// Package dlqreplayer collects what consumer groups gave up, shows operators what died, where and of what, and sends letters
// back to the one group that failed, which says of each what became of it.
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
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/console"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/httpapi"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/store"
)

// Config is all that can be set.
type Config struct {
	Run       run.Config       `mapstructure:",squash"`
	Database  database.Config  `mapstructure:",squash"`
	Kafka     kafka.Config     `mapstructure:",squash"`
	Outbox    outbox.Config    `mapstructure:",squash"`
	Auth      auth.Config      `mapstructure:",squash"`
	Telemetry telemetry.Config `mapstructure:",squash"`

	// AnswerTimeout is how long a group may take to say what became of a letter.
	AnswerTimeout time.Duration `mapstructure:"answer_timeout"`
	// Retention is how long a letter stays after its newest death.
	Retention time.Duration `mapstructure:"retention"`
	// RetentionWarning is how long before that the log says so.
	RetentionWarning time.Duration `mapstructure:"retention_warning"`
}

// Defaults are the settings of a service that was told nothing; it still needs its database's DSN and a key for tokens.
func Defaults() Config {
	return Config{
		Run: run.Defaults(8085, 9184), Database: database.Defaults(), Kafka: kafka.Defaults(), Outbox: outbox.Defaults(),
		Telemetry: telemetry.Defaults(), AnswerTimeout: 30 * time.Second, Retention: 90 * 24 * time.Hour, RetentionWarning: 7 * 24 * time.Hour,
	}
}

// Check says what is wrong with c, all at once; nil when nothing is.
func (c Config) Check() []string {
	var own []string
	if c.AnswerTimeout < 100*time.Millisecond || c.AnswerTimeout > time.Hour {
		own = append(own, "answer_timeout is 100ms to 1h")
	}
	if c.Retention < time.Hour || c.RetentionWarning < 0 || c.RetentionWarning >= c.Retention {
		own = append(own, "retention is at least 1h, and retention_warning less than it")
	}
	return slices.Concat(c.Run.Check(), c.Database.Check(), c.Kafka.Check(), c.Outbox.Check(), c.Auth.Check(), c.Telemetry.Check(), own)
}

// Command is the service's command line: the server's words, and an operator's.
func Command() *cobra.Command {
	return run.Command(run.Service[Config]{
		Name: "dlq-replayer", Short: "Collects dead letters and shows what they died of", Defaults: Defaults(), Check: Config.Check,
		Doors: func(c Config) run.Config { return c.Run },
		Serve: Run, Migrate: Migrate, Database: func(c Config) database.Config { return c.Database }, Consumes: true,
		More: func(func() (Config, error)) []*cobra.Command {
			return []*cobra.Command{causesCommand(), lettersCommand(), jobsCommand(), auditCommand()}
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
	db, err := database.OpenObserved(cfg.Database, database.Observers{Log: tel.Log, Meter: tel.Meter, Tracer: tel.Tracer})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	verifier, err := auth.New(ctx, cfg.Auth)
	if err != nil {
		return err
	}
	tables := database.NewTables(db, cfg.Database, tel.Log, migrations...)
	letters := store.Store{DB: db}
	writer := kafka.NewObservedWriter(cfg.Kafka, tel.Meter, tel.Tracer)
	defer func() { err = errors.Join(err, writer.Close()) }()
	relay := outbox.NewRelay(outbox.RelayConfig{
		DB: db, Sender: writer, Source: "dlq-replayer", Config: cfg.Outbox, Log: tel.Log, Meter: tel.Meter,
	})
	jobs := driver{letters, store.Drive{Groups: event.Groups(), Answer: cfg.AnswerTimeout}, relay.Wake, tel.Log}
	collector := kafka.NewConsumer(kafka.ConsumerConfig{
		Group: event.DLQReplayer, Topics: []string{kafka.DeadLetters, kafka.RawErrors, kafka.ReplayOutcomes}, Handle: handle, Keep: true, DB: db,
		Kafka: cfg.Kafka, Log: tel.Log, Meter: tel.Meter, Tracer: tel.Tracer,
	})
	api := httpapi.New(httpapi.Config{
		Letters: letters, Groups: event.Groups(), Verifier: verifier, Log: tel.Log, Retention: cfg.Retention, Warning: cfg.RetentionWarning,
	})
	edge, err := tel.Edge()
	if err != nil {
		return err
	}
	count, err := newCensus(letters, tel.Log, tel.Meter)
	if err != nil {
		return err
	}
	door := edge.Handler(console.New(console.Config{API: api, Verifier: verifier, Log: tel.Log}))

	g := cfg.Run.Group(ctx)
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
		g.Start("relay", relay.Run)
		g.Start("jobs", jobs.Run)
		g.Start("census", count.run)
		g.Start("retention", expire{letters, cfg.Retention, cfg.RetentionWarning, tel.Log}.Run)
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
