package dlqreplayer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/store"
)

// countEvery is how often dead letters are counted.
const countEvery = 10 * time.Second

// census tells how many letters are dead, since when, and how many jobs are under way. All replicas tell the same.
type census struct {
	store store.Store
	log   *slog.Logger

	mu     sync.Mutex // guards what follows
	kinds  []store.Kind
	oldest map[string]int64
	nowMS  int64
	jobs   int64
	known  bool
}

func newCensus(letters store.Store, log *slog.Logger, provider metric.MeterProvider) (*census, error) {
	m := provider.Meter("github.com/floodgate-dev/floodgate/services/dlq-replayer")
	dead, err1 := m.Int64ObservableGauge("floodgate.letters.dead", metric.WithUnit("{letter}"),
		metric.WithDescription("Dead letters by group and kind of error; all replicas tell the same"))
	causes, err2 := m.Int64ObservableGauge("floodgate.letters.causes", metric.WithUnit("{cause}"),
		metric.WithDescription("Causes that letters ever died of, by group and kind of error"))
	newest, err3 := m.Float64ObservableGauge("floodgate.letters.newest_cause.time", metric.WithUnit("s"),
		metric.WithDescription("When the newest cause was first met, in unix seconds, by group and kind of error"))
	oldest, err4 := m.Float64ObservableGauge("floodgate.letters.oldest.age", metric.WithUnit("s"),
		metric.WithDescription("How long the oldest dead letter of each group lies here"))
	jobs, err5 := m.Int64ObservableGauge("floodgate.jobs.open", metric.WithUnit("{job}"),
		metric.WithDescription("Replay jobs that are under way"))
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, err
	}
	c := &census{store: letters, log: log}
	_, err := m.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.known {
			return nil
		}
		for _, k := range c.kinds {
			with := metric.WithAttributes(attribute.String("consumergroup", k.Group), attribute.String("kind", k.Kind))
			to.ObserveInt64(dead, k.Dead, with)
			to.ObserveInt64(causes, k.Causes, with)
			to.ObserveFloat64(newest, float64(k.NewestMS)/1000, with)
		}
		for group, at := range c.oldest {
			to.ObserveFloat64(oldest, float64(c.nowMS-at)/1000, metric.WithAttributes(attribute.String("consumergroup", group)))
		}
		to.ObserveInt64(jobs, c.jobs)
		return nil
	}, dead, causes, newest, oldest, jobs)
	return c, err
}

// run counts until ctx ends; nil then.
func (c *census) run(ctx context.Context) error {
	for pause := time.Duration(0); ; pause = countEvery {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if err := c.take(ctx); err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "dead letters are not counted", "error", err)
		}
	}
}

func (c *census) take(ctx context.Context) error {
	kinds, err1 := c.store.Kinds(ctx)
	oldest, now, err2 := c.store.Oldest(ctx)
	jobs, err3 := c.store.OpenJobs(ctx)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kinds, c.oldest, c.nowMS, c.jobs, c.known = kinds, oldest, now, int64(len(jobs)), true
	return nil
}
