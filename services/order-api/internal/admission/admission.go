// Package admission bounds how much is under way at once, before it costs anything.
//
// It promises that what does not fit is told so at once instead of waiting, that what fits is answered about as soon as in
// calm times, and that a crowd in one lane takes no place in another: while a sale overflows, customers pay and cancel,
// people read and operators work.
package admission

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Config says how many requests may be under way in each lane.
type Config struct {
	// Orders being placed, those included that wait for a committer. A batch takes 256: with two batches' worth inside, one
	// commits while the next gathers, so more would only wait longer.
	Orders int `mapstructure:"admit_orders"`
	// Moves of orders that stand: pay, cancel, refund, hide.
	Moves int `mapstructure:"admit_moves"`
	// Reads of orders, items and points.
	Reads int `mapstructure:"admit_reads"`
	// Operators' changes of items, stock and shipments. Each is a question to another service.
	Operators int `mapstructure:"admit_operators"`
	// Streams of timelines; each lasts minutes and costs little.
	Streams int `mapstructure:"admit_streams"`
}

// Defaults are the settings of a service that was told nothing; docs/adr/0017 says what was measured.
func Defaults() Config {
	return Config{Orders: 512, Moves: 256, Reads: 512, Operators: 64, Streams: 2000}
}

// Check says what is wrong with c, all at once; nil when nothing is.
func (c Config) Check() []string {
	var bad []string
	for _, lane := range []struct {
		key string
		n   int
	}{
		{"admit_orders", c.Orders}, {"admit_moves", c.Moves}, {"admit_reads", c.Reads}, {"admit_operators", c.Operators}, {"admit_streams", c.Streams},
	} {
		if lane.n < 1 || lane.n > 1_000_000 {
			bad = append(bad, fmt.Sprintf("%s is %d: it must be from 1 to 1,000,000", lane.key, lane.n))
		}
	}
	return bad
}

// Lane has so many places.
type Lane struct {
	name    string
	places  int64
	inside  atomic.Int64
	refused atomic.Int64
}

// Enter takes a place, or says at once that there is none. Who got one leaves.
func (r *Lane) Enter() bool {
	if r.inside.Add(1) > r.places {
		r.inside.Add(-1)
		r.refused.Add(1)
		return false
	}
	return true
}

// Leave gives the place back.
func (r *Lane) Leave() { r.inside.Add(-1) }

// Lanes are all of them.
type Lanes struct {
	Orders, Moves, Reads, Operators, Streams *Lane

	log *slog.Logger
}

// Observers are where admission tells what it does.
type Observers struct {
	Log   *slog.Logger
	Meter metric.MeterProvider
}

// New returns empty lanes. Run tells of those that were full.
func New(cfg Config, o Observers) (*Lanes, error) {
	r := &Lanes{
		Orders: &Lane{name: "orders", places: int64(cfg.Orders)}, Moves: &Lane{name: "moves", places: int64(cfg.Moves)},
		Reads: &Lane{name: "reads", places: int64(cfg.Reads)}, Operators: &Lane{name: "operators", places: int64(cfg.Operators)},
		Streams: &Lane{name: "streams", places: int64(cfg.Streams)}, log: o.Log,
	}
	return r, r.measure(o.Meter)
}

func (r *Lanes) all() []*Lane { return []*Lane{r.Orders, r.Moves, r.Reads, r.Operators, r.Streams} }

// measure shows what the lanes count anyway: a request pays nothing for it.
func (r *Lanes) measure(provider metric.MeterProvider) error {
	m := provider.Meter("github.com/floodgate-dev/floodgate/services/order-api/admission")
	each := func(value func(*Lane) int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			for _, lane := range r.all() {
				o.Observe(value(lane), metric.WithAttributes(attribute.String("lane", lane.name)))
			}
			return nil
		}
	}
	_, inside := m.Int64ObservableGauge("floodgate.admission.inside", metric.WithUnit("{request}"),
		metric.WithDescription("Requests under way, by lane"), metric.WithInt64Callback(each(func(lane *Lane) int64 { return lane.inside.Load() })))
	_, places := m.Int64ObservableGauge("floodgate.admission.places", metric.WithUnit("{request}"),
		metric.WithDescription("Requests that may be under way, by lane"), metric.WithInt64Callback(each(func(lane *Lane) int64 { return lane.places })))
	_, refused := m.Int64ObservableCounter("floodgate.admission.refused", metric.WithUnit("{request}"),
		metric.WithDescription("Requests that found their lane full, by lane"), metric.WithInt64Callback(each(func(lane *Lane) int64 { return lane.refused.Load() })))
	return errors.Join(inside, places, refused)
}

// every is how often a full lane is spoken of.
const every = time.Second

// Run says each second how many were refused, until ctx ends; nil then. A line for each of them would cost more than the
// refusals.
func (r *Lanes) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	said := map[*Lane]int64{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, lane := range r.all() {
			if refused := lane.refused.Load(); refused > said[lane] {
				r.log.WarnContext(ctx, "a lane is full: requests are told to come back", "lane", lane.name, "places", lane.places,
					"refused", refused-said[lane])
				said[lane] = refused
			}
		}
	}
}
