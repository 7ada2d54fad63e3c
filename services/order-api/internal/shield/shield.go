// Package shield stands in front of what may be asked too much of, or may be away: the routes of the HTTP door, the services
// behind gRPC, and Redis. It is Sentinel, with rules that operators write and change while the service runs.
//
// It promises that rules are in force as written or refused aloud, that where no rule speaks it costs next to nothing, and
// that nothing is right because of it: Sentinel counts roughly, and what must hold is held elsewhere. Admission (package
// admission) bounds what waits; this is for what people decide.
package shield

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/metric"
)

// Config says where rules come from. Both may speak, of different things.
type Config struct {
	// Rules are rules as YAML.
	Rules string `mapstructure:"rules"`
	// File holds rules as YAML and may change while the service runs.
	File string `mapstructure:"rules_file"`
}

// Check says what is wrong with c; nil when nothing is. The file is not looked at: it may come later.
func (c Config) Check() []string {
	if _, err := Parse(c.Rules); err != nil {
		return []string{fmt.Sprintf("rules: %v", err)}
	}
	return nil
}

// Observers are where the shield tells what it does.
type Observers struct {
	Log   *slog.Logger
	Meter metric.MeterProvider
}

// Shield is all doors and the rules that are in force. Run keeps up with the file; Close when nobody enters any more.
type Shield struct {
	cfg   Config
	log   *slog.Logger
	own   Rules // of the settings
	doors map[string]*Door
	skus  *Skus

	text    string // of the file, as last looked at; Run's alone
	refused atomic.Pointer[error]
}

// New returns a shield whose file was read once. It fails when the settings' own rules are bad; a bad file only keeps it from
// being ready.
func New(cfg Config, o Observers) (*Shield, error) {
	begin()
	own, err := Parse(cfg.Rules)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	s := &Shield{cfg: cfg, log: o.Log, own: own, doors: map[string]*Door{}}
	// Sentinel keeps rules for the whole process, so each shield has resources of its own.
	id := "/" + uuid.NewString()
	for _, name := range Names {
		s.doors[name] = &Door{name: name, resource: name + id, log: o.Log}
	}
	counts, err := newCounts(o.Meter, s)
	if err != nil {
		return nil, err
	}
	for _, d := range s.doors {
		d.counts = counts
		doors.Store(d.resource, d)
	}
	s.skus = &Skus{resource: "sku" + id, counts: counts}
	if err := s.load(own); err != nil {
		s.Close()
		return nil, err
	}
	s.look()
	return s, nil
}

// Close takes all rules out of force.
func (s *Shield) Close() {
	for _, d := range s.doors {
		_ = d.load(nil, nil) // taking away cannot be refused
		doors.Delete(d.resource)
	}
	_ = s.skus.load(nil)
}

// Door is the one in front of name, which is one of Names.
func (s *Shield) Door(name string) *Door {
	d, is := s.doors[name]
	if !is {
		panic("shield: there is no " + name) // it is written in the code, not asked for by callers
	}
	return d
}

// Skus stands in front of order lines.
func (s *Shield) Skus() *Skus { return s.skus }

// load puts rules in force.
func (s *Shield) load(r Rules) error {
	flows, breakers := map[string]*int64{}, map[string][]Breaker{}
	for _, f := range r.Flow {
		flows[f.Resource] = f.PerSecond
	}
	for _, b := range r.effective().Breakers {
		breakers[b.Resource] = append(breakers[b.Resource], b)
	}
	var err error
	for name, d := range s.doors {
		err = errors.Join(err, d.load(flows[name], breakers[name]))
	}
	return errors.Join(err, s.skus.load(r.Flow))
}

// every is the pause between two looks at the file.
const every = time.Second

// largest bounds the file.
const largest = 1 << 20

// Run keeps up with the file until ctx ends; nil then. It reads instead of asking when the file changed: a mounted file is
// often swapped behind a link, and one read a second costs nothing.
func (s *Shield) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.look()
		}
	}
}

// Ready says what is wrong with the rules. While something is, those that were last good stay in force.
func (s *Shield) Ready(context.Context) error {
	if err := s.refused.Load(); err != nil {
		return *err
	}
	return nil
}

// look reads the file and puts it in force if it is new.
func (s *Shield) look() {
	if s.cfg.File == "" {
		return
	}
	text, err := read(s.cfg.File)
	if err == nil && text == s.text && s.Ready(context.Background()) == nil {
		return
	}
	if err == nil {
		err = s.apply(text)
	}
	s.note(text, err)
}

func read(path string) (string, error) {
	about, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if about.Size() > largest {
		return "", fmt.Errorf("it has %d bytes: rules have at most %d", about.Size(), largest)
	}
	text, err := os.ReadFile(path) //nolint:gosec // the operator names it
	return string(text), err
}

func (s *Shield) apply(text string) error {
	file, err := Parse(text)
	if err != nil {
		return err
	}
	all, err := together(s.own, file)
	if err != nil {
		return err
	}
	return s.load(all)
}

// note remembers what became of the file, and says it when it is news.
func (s *Shield) note(text string, err error) {
	before := s.Ready(context.Background())
	s.text = text
	if err == nil {
		s.refused.Store(nil)
		s.log.Info("rules are in force", "file", s.cfg.File)
		return
	}
	err = fmt.Errorf("rules_file %s: %w", s.cfg.File, err)
	s.refused.Store(&err)
	if before == nil || before.Error() != err.Error() {
		s.log.Error("rules are refused; those that were last good stay in force", "error", err)
	}
}
