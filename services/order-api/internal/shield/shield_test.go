package shield

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alibaba/sentinel-golang/core/circuitbreaker"
	"go.opentelemetry.io/otel/metric/noop"
)

var errAway = errors.New("away")

// newShield is a shield with the settings' own rules; it ends with the test.
func newShield(t testing.TB, rules string) *Shield {
	t.Helper()
	return from(t, Config{Rules: rules})
}

func from(t testing.TB, cfg Config) *Shield {
	t.Helper()
	s, err := New(cfg, Observers{Log: slog.New(slog.DiscardHandler), Meter: noop.NewMeterProvider()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// call is one call of d that takes so long and ends in err; it tells whether it was let in.
func call(t testing.TB, d *Door, took time.Duration, err error) bool {
	t.Helper()
	pass, blocked := d.Enter(t.Context())
	if blocked != nil {
		return false
	}
	if took > 0 {
		<-time.After(took)
	}
	pass.Leave(err)
	return true
}

// in tells how many of n calls at once are let in.
func in(t testing.TB, d *Door, n int) (passed int) {
	t.Helper()
	for range n {
		if call(t, d, 0, nil) {
			passed++
		}
	}
	return passed
}

// refusal is why d lets nobody in.
func refusal(t *testing.T, d *Door) Blocked {
	t.Helper()
	_, err := d.Enter(t.Context())
	blocked, is := errors.AsType[*Blocked](err)
	if !is {
		t.Fatalf("Enter: %v, want a refusal", err)
	}
	return *blocked
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestNothingIsLimitedUnlessARuleSaysSo(t *testing.T) {
	t.Parallel()
	s := newShield(t, "")
	for _, name := range Names {
		if passed := in(t, s.Door(name), 1000); passed != 1000 {
			t.Errorf("%d of 1000 calls of %s pass", passed, name)
		}
	}
	if err := s.Skus().Enter(t.Context(), "tea"); err != nil {
		t.Error(err)
	}
	if s.Door("order/list").options.Load() != nil {
		t.Error("Sentinel is asked although no rule speaks of it")
	}
}

// The example that is shipped does what it says.
func TestTheExample(t *testing.T) {
	t.Parallel()
	example, err := filepath.Abs("../../../../deploy/examples/sentinel-rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("AHundredOrdersASecond", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			d := from(t, Config{File: example}).Door(CreateOrder)
			for range 3 {
				if passed := in(t, d, 300); passed != 100 {
					t.Errorf("%d orders pass at once", passed)
				}
				if b := refusal(t, d); !b.Flow || b.After != time.Second {
					t.Errorf("refused with %+v", b)
				}
				<-time.After(1500 * time.Millisecond)
			}
		})
	})
	t.Run("ABreakerOfAMinute", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			d := from(t, Config{File: example}).Door(CreateOrder)
			slow := func(n int) { // n of 20 calls in 10 seconds take over a second
				for i := range 20 {
					pass, err := d.Enter(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					took := time.Duration(0)
					if i < n {
						took = 1100 * time.Millisecond
					}
					go func() { <-time.After(took); pass.Leave(nil) }()
				}
				<-time.After(2 * time.Second)
			}
			slow(12)
			if !call(t, d, 0, nil) {
				t.Fatal("it opens although no more than 60 % were slow")
			}
			<-time.After(11 * time.Second)
			slow(13)
			if b := refusal(t, d); b.Flow || b.After < 55*time.Second || b.After > time.Minute {
				t.Errorf("refused with %+v", b)
			}
			<-time.After(58 * time.Second)
			if call(t, d, 0, nil) {
				t.Error("it lets in before its minute is over")
			}
			<-time.After(2 * time.Second)
			probe, err := d.Enter(t.Context())
			if err != nil {
				t.Fatalf("after a minute nobody is let in: %v", err)
			}
			if passed := in(t, d, 10); passed != 0 {
				t.Errorf("%d pass beside the one that tries", passed)
			}
			probe.Leave(nil)
			if passed := in(t, d, 10); passed != 10 {
				t.Errorf("%d of 10 pass after one was well", passed)
			}
		})
	})
}

func TestBuiltInBreakers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{CreateOrder, Inventory, Points, Logistics, Redis} {
		t.Run(strings.ReplaceAll(name, "/", " "), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newShield(t, "")
				d := s.Door(name)
				tries := 0
				for ; tries < 40 && call(t, d, 100*time.Millisecond, errAway); tries++ {
				}
				if tries > 20 {
					t.Fatalf("%d calls failed and it is not open", tries)
				}
				if passed := in(t, s.Door("order/list"), 10); passed != 10 {
					t.Error("one breaker is another's")
				}
				<-time.After(1100 * time.Millisecond)
				if !call(t, d, 0, errAway) || call(t, d, 0, nil) {
					t.Error("one that tries and fails must keep it open")
				}
				<-time.After(1100 * time.Millisecond)
				if !call(t, d, 0, nil) || in(t, d, 10) != 10 {
					t.Error("one that tries and is well must close it")
				}
			})
		})
		t.Run(strings.ReplaceAll(name, "/", " ")+" slow", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newShield(t, "").Door(name)
				for range 60 {
					pass, err := d.Enter(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					go func() { <-time.After(6 * time.Second); pass.Leave(nil) }()
				}
				<-time.After(6100 * time.Millisecond)
				if call(t, d, 0, nil) {
					t.Error("60 calls took 6 seconds each and it is not open")
				}
			})
		})
	}
}

// A rule replaces the built-in one of its kind, or takes it away, and leaves the others.
func TestRulesReplaceWhatIsBuiltIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShield(t, `
breakers:
  - {resource: redis, kind: failures, "off": true}
  - {resource: grpc/points, kind: errors, share: 1, at_least: 50, within: 10s, open: 5s}
`)
		for range 45 {
			if !call(t, s.Door(Redis), 0, errAway) {
				t.Fatal("a breaker stands that was taken away")
			}
			if !call(t, s.Door(Points), 0, errAway) {
				t.Fatal("the built-in breaker stands beside the one that replaces it")
			}
			call(t, s.Door(Logistics), 0, errAway)
		}
		if call(t, s.Door(Logistics), 0, nil) {
			t.Error("a breaker of which no rule speaks is gone")
		}
	})
}

func TestSkus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lines := func(s *Shield, sku string) (passed int) {
			for range 100 {
				if s.Skus().Enter(t.Context(), sku) == nil {
					passed++
				}
			}
			return passed
		}
		named := newShield(t, `flow: [{sku: tea, per_second: 10}, {sku: gone, per_second: 0}]`)
		if tea, gone, mug := lines(named, "tea"), lines(named, "gone"), lines(named, "mug"); tea != 10 || gone != 0 || mug != 100 {
			t.Errorf("%d of tea, %d of gone and %d of mug pass, want 10, 0 and 100", tea, gone, mug)
		}
		b, _ := errors.AsType[*Blocked](named.Skus().Enter(t.Context(), "tea"))
		if b == nil || b.Sku != "tea" || b.After != time.Second || !strings.Contains(b.Error(), "tea") {
			t.Errorf("refused with %+v", b)
		}
		all := newShield(t, `flow: [{sku: tea, per_second: 10}, {sku: "*", per_second: 20}]`)
		if tea, mug, vase := lines(all, "tea"), lines(all, "mug"), lines(all, "vase"); tea != 10 || mug != 20 || vase != 20 {
			t.Errorf("%d of tea, %d of mug and %d of vase pass, want 10, 20 and 20", tea, mug, vase)
		}
		<-time.After(1100 * time.Millisecond)
		if tea := lines(named, "tea"); tea != 10 {
			t.Errorf("%d of tea pass a second later, want 10", tea)
		}
	})
}

// The file is followed. What is wrong in it is told, and what was last good stays in force.
func TestTheFileIsFollowed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rules.yaml")
	synctest.Test(t, func(t *testing.T) {
		s := from(t, Config{File: path})
		if s.Ready(t.Context()) == nil {
			t.Error("ready without its file")
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		d := s.Door("order/show")
		for _, step := range []struct {
			text   string
			ready  bool
			passed int // of 100
		}{
			{"flow: [{resource: order/show, per_second: 7}]", true, 7},
			{"flow: [{resource: order/show, per_second: 9}]", true, 9},
			{"flow: [{resource: order/shwo, per_second: 5}]", false, 9},
			{"flow: [{resource: order/show, per_second: 5}, {resource: order/list, per_second: -1}]", false, 9},
			{"flow: {", false, 9},
			{"flow: [{resource: order/show, per_second: 5}]", true, 5},
			{"# nothing", true, 100},
		} {
			write(t, path, step.text)
			<-time.After(1100*time.Millisecond + every)
			if passed, err := in(t, d, 100), s.Ready(t.Context()); passed != step.passed || (err == nil) != step.ready {
				t.Errorf("%s: %d pass, ready %v", step.text, passed, err)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A breaker that is open stays open when the rules are read again and say the same of it.
func TestAReloadKeepsWhatDidNotChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShield(t, "")
		for range 20 {
			call(t, s.Door(Redis), 0, errAway)
		}
		if err := s.apply("flow: [{resource: order/list, per_second: 1}]"); err != nil {
			t.Fatal(err)
		}
		if b := refusal(t, s.Door(Redis)); b.After == 0 {
			t.Errorf("refused with %+v", b)
		}
		if err := s.apply("breakers: [{resource: redis, kind: failures, count: 9, at_least: 1, within: 1s, open: 1s}]"); err != nil {
			t.Fatal(err)
		}
		if !call(t, s.Door(Redis), 0, nil) {
			t.Error("a breaker with a new rule begins open")
		}
	})
}

func TestBadRules(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"flow: [{resource: order/create}]":                             "per_second",
		"flow: [{per_second: 1}]":                                      "a resource or a sku",
		"flow: [{resource: redis, sku: tea, per_second: 1}]":           "a resource or a sku",
		"flow: [{resource: order/create, per_second: 10000000}]":       "per_second",
		"flow: [{resource: orders, per_second: 1}]":                    `no resource "orders"`,
		"flow: [{sku: tea, per_second: 1}, {sku: tea, per_second: 2}]": "two rules",
		"flows: []": "flows",
		"breakers: [{resource: redis, kind: fast}]":                                                            `kind is "fast"`,
		"breakers: [{resource: rediss, kind: slow, off: true}]":                                                `no resource "rediss"`,
		"breakers: [{resource: redis, kind: slow, at_least: 1, within: 1s}]":                                   "over must be from 1ms",
		"breakers: [{resource: redis, kind: errors, share: 1.5, at_least: 1, within: 1s, open: 1s}]":           "share must be",
		"breakers: [{resource: redis, kind: errors, share: 0.5, over: 1s, at_least: 1, within: 1s, open: 1s}]": "over says nothing for errors",
		"breakers: [{resource: redis, kind: failures, count: 1, at_least: 1, within: 1h, open: 1s}]":           "within must be",
		"breakers: [{resource: redis, kind: failures, count: 1, at_least: 1, within: 1s, open: 1ms}]":          "open must be",
		"breakers: [{resource: redis, kind: failures, count: 0, at_least: 1, within: 1s, open: 1s}]":           "count must be",
		"breakers: [{resource: redis, kind: slow, off: true}, {resource: redis, kind: slow, off: true}]":       "two rules",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
		if bad := (Config{Rules: text}).Check(); len(bad) != 1 || !strings.HasPrefix(bad[0], "rules: ") {
			t.Errorf("%s: complaints %q", text, bad)
		}
	}
	if _, err := New(Config{Rules: "flow: {"}, Observers{slog.New(slog.DiscardHandler), noop.NewMeterProvider()}); err == nil {
		t.Error("a shield with bad rules of its own")
	}
}

// What the settings say and what the file says must not contradict each other.
func TestSettingsAndFileSpeakOfDifferentThings(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rules.yaml")
	write(t, path, "flow: [{resource: order/list, per_second: 3}]")
	s := from(t, Config{Rules: "flow: [{resource: order/show, per_second: 4}]", File: path})
	if list, show := in(t, s.Door("order/list"), 10), in(t, s.Door("order/show"), 10); list != 3 || show != 4 || s.Ready(t.Context()) != nil {
		t.Errorf("%d and %d pass, ready %v", list, show, s.Ready(t.Context()))
	}
	write(t, path, "flow: [{resource: order/show, per_second: 3}]")
	s.look()
	if err := s.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "two rules") {
		t.Errorf("ready says %v", err)
	}
}

// Sentinel drops a rule that it does not like and says nothing. Reading back tells.
func TestADroppedRuleIsNoticed(t *testing.T) {
	t.Parallel()
	begin()
	negative := int64(-1)
	if err := loadFlow("dropped/"+t.Name(), &negative); !errors.Is(err, errDropped) {
		t.Errorf("flow: %v", err)
	}
	if err := loadSkus("dropped/"+t.Name(), nil, &negative); !errors.Is(err, errDropped) {
		t.Errorf("skus: %v", err)
	}
	b := Breaker{Kind: Errors, Share: 0.5, AtLeast: 1, Within: time.Second, Open: time.Second}
	rule := b.rule("dropped/" + t.Name())
	rule.StatIntervalMs = 0
	if err := loadBreakers(rule.Resource, []*circuitbreaker.Rule{b.rule(rule.Resource), rule}); err == nil {
		t.Error("breakers: none")
	}
}
