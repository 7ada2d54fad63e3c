package shield

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// What rules may speak of: the routes of the HTTP door, the services behind gRPC, and Redis.
const (
	CreateOrder = "order/create"
	Inventory   = "grpc/inventory"
	Points      = "grpc/points"
	Logistics   = "grpc/logistics"
	Redis       = "redis"
)

// Names are all of them.
var Names = []string{
	CreateOrder, "order/list", "order/show", "order/pay", "order/cancel", "order/hide", "order/refund", "order/timeline",
	"order/events", "order/shipment", "item/list", "item/show", "item/change", "item/retire", "item/stock", "points/mine",
	"points/show", "shipment/news", Inventory, Points, Logistics, Redis,
}

// EverySku in a flow rule stands for each sku that has no rule of its own.
const EverySku = "*"

// Rules are what operators set, in their words; see deploy/examples/sentinel-rules.yaml.
type Rules struct {
	Flow     []Flow    `yaml:"flow"`
	Breakers []Breaker `yaml:"breakers"`
}

// Flow lets so many pass in a second: calls of a resource, or order lines of a sku.
type Flow struct {
	Resource  string `yaml:"resource"`
	Sku       string `yaml:"sku"`
	PerSecond *int64 `yaml:"per_second"`
}

// Kind is what a breaker counts.
type Kind string

// The kinds of breakers.
const (
	Slow     Kind = "slow"     // the share of calls that took too long
	Errors   Kind = "errors"   // the share of calls that failed
	Failures Kind = "failures" // the number of calls that failed
)

// Breaker shuts a resource for a while when too many of its calls were slow or failed.
type Breaker struct {
	Resource string        `yaml:"resource"`
	Kind     Kind          `yaml:"kind"`
	Off      bool          `yaml:"off"`      // there is none, where one is built in
	Over     time.Duration `yaml:"over"`     // slow: a call that takes longer counts
	Share    float64       `yaml:"share"`    // slow, errors: it opens when more than this share counts
	Count    int64         `yaml:"count"`    // failures: it opens when so many failed
	AtLeast  int64         `yaml:"at_least"` // of so many calls, or nothing is said
	Within   time.Duration `yaml:"within"`   // of so long
	Open     time.Duration `yaml:"open"`     // how long it stays open before one call tries again
}

// builtIn are the breakers that stand where the rules say nothing else of the same resource and kind. There is no flow
// rule. None of them waits long: they are to keep a crowd from a part that is away, and let it in as soon as it is back.
func builtIn() []Breaker {
	all := []Breaker{
		{Resource: CreateOrder, Kind: Errors, Share: 0.5, AtLeast: 20, Within: 10 * time.Second, Open: time.Second},
		{Resource: CreateOrder, Kind: Slow, Over: 5 * time.Second, Share: 0.8, AtLeast: 20, Within: 10 * time.Second, Open: time.Second},
		// Every visit of a frozen Redis costs its whole patience, half a second: five are enough.
		{Resource: Redis, Kind: Failures, Count: 5, AtLeast: 1, Within: 5 * time.Second, Open: time.Second},
		{Resource: Redis, Kind: Slow, Over: 400 * time.Millisecond, Share: 0.8, AtLeast: 50, Within: 2 * time.Second, Open: time.Second},
	}
	for _, service := range []string{Inventory, Points, Logistics} {
		all = append(all,
			Breaker{Resource: service, Kind: Errors, Share: 0.5, AtLeast: 5, Within: 10 * time.Second, Open: time.Second},
			Breaker{Resource: service, Kind: Slow, Over: time.Second, Share: 0.8, AtLeast: 20, Within: 10 * time.Second, Open: time.Second})
	}
	return all
}

// Parse reads rules as YAML. The error names everything that is wrong with them.
func Parse(text string) (Rules, error) {
	var r Rules
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&r); err != nil && !errors.Is(err, io.EOF) {
		return Rules{}, err
	}
	return r, errors.Join(r.check()...)
}

// most is the highest rate that may be asked for: beyond it Sentinel's arithmetic of refills runs over.
const most = 1_000_000

func (r Rules) check() (bad []error) {
	seen := map[string]bool{}
	once := func(what string) {
		if seen[what] {
			bad = append(bad, fmt.Errorf("%s has two rules: leave one", what))
		}
		seen[what] = true
	}
	for i, f := range r.Flow {
		for _, complaint := range f.check() {
			bad = append(bad, fmt.Errorf("flow[%d]: %s", i, complaint))
		}
		once("the flow of " + f.Resource + f.Sku)
	}
	for i, b := range r.Breakers {
		for _, complaint := range b.check() {
			bad = append(bad, fmt.Errorf("breakers[%d]: %s", i, complaint))
		}
		once(fmt.Sprintf("the breaker %s of %s", b.Kind, b.Resource))
	}
	return bad
}

func (f Flow) check() (bad []string) {
	switch {
	case (f.Resource == "") == (f.Sku == ""):
		bad = append(bad, "name a resource or a sku, one of them")
	case f.Sku == "" && !slices.Contains(Names, f.Resource):
		bad = append(bad, unknown(f.Resource))
	}
	if f.PerSecond == nil || *f.PerSecond < 0 || *f.PerSecond > most {
		bad = append(bad, fmt.Sprintf("per_second must be from 0 to %d", most))
	}
	return bad
}

func (b Breaker) check() (bad []string) {
	if !slices.Contains(Names, b.Resource) {
		bad = append(bad, unknown(b.Resource))
	}
	if b.Kind != Slow && b.Kind != Errors && b.Kind != Failures {
		bad = append(bad, fmt.Sprintf("kind is %q: it must be %s, %s or %s", b.Kind, Slow, Errors, Failures))
	}
	if b.Off {
		return bad
	}
	for _, field := range []struct {
		name      string
		asked     bool
		set, good bool
		must      string
	}{
		{"over", b.Kind == Slow, b.Over != 0, b.Over >= time.Millisecond && b.Over <= time.Hour, "be from 1ms to 1h"},
		{"share", b.Kind != Failures, b.Share != 0, b.Share > 0 && b.Share <= 1, "be above 0 and at most 1"},
		{"count", b.Kind == Failures, b.Count != 0, b.Count >= 1, "be at least 1"},
		{"at_least", true, true, b.AtLeast >= 1, "be at least 1"},
		{"within", true, true, b.Within >= 100*time.Millisecond && b.Within <= 10*time.Minute && b.Within%(buckets*time.Millisecond) == 0, "be from 100ms to 10m, in whole hundredths of a second"},
		{"open", true, true, b.Open >= 100*time.Millisecond && b.Open <= time.Hour, "be from 100ms to 1h"},
	} {
		switch {
		case field.asked && !field.good:
			bad = append(bad, fmt.Sprintf("%s must %s", field.name, field.must))
		case !field.asked && field.set:
			bad = append(bad, fmt.Sprintf("%s says nothing for %s", field.name, b.Kind))
		}
	}
	return bad
}

func unknown(resource string) string {
	return fmt.Sprintf("there is no resource %q; there are %s", resource, strings.Join(Names, ", "))
}

// effective are the rules with what is built in.
func (r Rules) effective() Rules {
	all := Rules{Flow: r.Flow}
	for _, b := range builtIn() {
		if !slices.ContainsFunc(r.Breakers, func(own Breaker) bool { return own.Resource == b.Resource && own.Kind == b.Kind }) {
			all.Breakers = append(all.Breakers, b)
		}
	}
	for _, b := range r.Breakers {
		if !b.Off {
			all.Breakers = append(all.Breakers, b)
		}
	}
	return all
}

// together are the rules of both; the error says what both speak of.
func together(a, b Rules) (Rules, error) {
	all := Rules{Flow: slices.Concat(a.Flow, b.Flow), Breakers: slices.Concat(a.Breakers, b.Breakers)}
	return all, errors.Join(all.check()...)
}
