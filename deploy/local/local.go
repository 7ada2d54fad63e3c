// Package local runs the whole suite in one process on embedded parts: a SQLite file for each service, a Redis and a
// Kafka inside the process. It needs Go and nothing else, and what it prints is the tutorial.
//
// It promises what the suite promises: an order that was acknowledged survives kill -9, for the databases and Kafka's
// log lie in the state folder. It proves nothing about concurrency: SQLite has one writer.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/run"
)

// Config is what `make run` may choose; everything else is a setting of a service.
type Config struct {
	Root    string    // the folder of all state, .floodgate
	Environ []string  // where settings of services come from
	Demo    bool      // place one order and show its life
	Out     io.Writer // what people read
}

// Run starts everything, tells its story on cfg.Out, and serves until ctx ends.
func Run(ctx context.Context, cfg Config) (err error) {
	began := time.Now()
	s, err := openState(cfg.Root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.retract(), s.close()) }()
	key, err := s.key()
	if err != nil {
		return err
	}
	log, closeLog, err := openLog(s.path("log"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()

	own := newSettings(cfg.Environ)
	own.embed(s, key)
	// The doors are checked before anything starts; they do not depend on where the embedded servers will be.
	own.at("127.0.0.1:1", "127.0.0.1:1")
	planned, err := own.load()
	if err != nil {
		return err
	}
	if err := checkDoors(ctx, planned.doors()); err != nil {
		return err
	}
	parts, err := startServers(s.path("kafka"), log)
	if err != nil {
		return err
	}
	own.at(parts.broker(), parts.redis.Addr())
	whole, err := own.load()
	if err != nil {
		parts.stop()
		return err
	}
	t, err := newTutorial(cfg, s, whole, began)
	if err != nil {
		parts.stop()
		return err
	}
	return t.serve(ctx, parts)
}

// serve starts the parts in the order in which they need each other; they stop the other way round.
func (t *tutorial) serve(ctx context.Context, parts *servers) error {
	g := run.NewGroup(ctx)
	g.Start("servers", func(ctx context.Context) error {
		defer parts.stop()
		return parts.keepTime(ctx)
	})
	for _, m := range t.suite.members {
		g.Start(m.name, m.serve)
	}
	g.Start("tutorial", func(ctx context.Context) error {
		if err := t.tell(ctx, parts); err != nil && ctx.Err() == nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
	return g.Wait()
}

// tell waits until every part is ready and then tells the story.
func (t *tutorial) tell(ctx context.Context, parts *servers) error {
	for _, m := range t.suite.members {
		if err := await(ctx, func() error { return ready(ctx, m) }); err != nil {
			return fmt.Errorf("%w; the log is %s", err, t.state.path("log"))
		}
	}
	if err := t.fill(ctx); err != nil {
		return err
	}
	if err := t.state.announce(t.suite.addresses(t.state, os.Getpid(), parts.broker(), parts.redis.Addr())); err != nil {
		return err
	}
	t.doors()
	if !t.cfg.Demo {
		t.say("\nOrder two teas:\n\n  %s", t.teas())
		return nil
	}
	return t.live(ctx)
}

// ready asks a service whether it is.
func ready(ctx context.Context, m member) error {
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.listens.OpsAddr()+"/readyz?verbose", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return unready(m, err)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return unready(m, err)
	}
	if answer.StatusCode != http.StatusOK {
		return unready(m, string(text))
	}
	return nil
}
