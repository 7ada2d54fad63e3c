package shield

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	sentinel "github.com/alibaba/sentinel-golang/api"
	"github.com/alibaba/sentinel-golang/core/base"
	"github.com/alibaba/sentinel-golang/core/circuitbreaker"
	"github.com/alibaba/sentinel-golang/core/flow"
	"github.com/alibaba/sentinel-golang/core/hotspot"
	"github.com/alibaba/sentinel-golang/core/stat"
	"github.com/alibaba/sentinel-golang/logging"
)

// buckets is into how many parts a breaker's time is cut.
const buckets = 10

// Sentinel's own chain asks for more than is used here, among it the load of the machine, which it takes in the wrong unit,
// and writes a log of its own. These ask for what the rules need and nothing else.
var (
	breakerChain = []sentinel.EntryOption{sentinel.WithSlotChain(chain(false))}
	flowChain    = []sentinel.EntryOption{sentinel.WithSlotChain(chain(true))}
	skuChain     = sentinel.WithSlotChain(skus())
)

func chain(withFlow bool) *base.SlotChain {
	c := base.NewSlotChain()
	c.AddRuleCheckSlot(circuitbreaker.DefaultSlot)
	c.AddStatSlot(circuitbreaker.DefaultMetricStatSlot)
	if withFlow {
		c.AddStatPrepareSlot(stat.DefaultResourceNodePrepareSlot)
		c.AddRuleCheckSlot(flow.DefaultSlot)
		c.AddStatSlot(stat.DefaultSlot)
		c.AddStatSlot(flow.DefaultStandaloneStatSlot)
	}
	return c
}

func skus() *base.SlotChain {
	c := base.NewSlotChain()
	c.AddRuleCheckSlot(hotspot.DefaultSlot)
	return c
}

// begin prepares Sentinel once for the process: it keeps its prints off the terminal and hears of breakers. Its Init is not
// called: what is used here works without, and Init would write into the home directory and start collectors that nobody
// stops.
var begin = sync.OnceFunc(func() {
	logging.ResetGlobalLoggerLevel(logging.ErrorLevel)
	circuitbreaker.RegisterStateChangeListeners(ear{})
})

// doors are those of every Shield of the process, by the names that Sentinel knows them by: its rules and its listeners are
// the process's.
var doors sync.Map // of string to *Door

// ear hears of every breaker of the process.
type ear struct{}

func (ear) OnTransformToClosed(_ circuitbreaker.State, rule circuitbreaker.Rule) { heard(rule, closed) }

func (ear) OnTransformToOpen(_ circuitbreaker.State, rule circuitbreaker.Rule, _ any) {
	heard(rule, open)
}

func (ear) OnTransformToHalfOpen(_ circuitbreaker.State, rule circuitbreaker.Rule) {
	heard(rule, trying)
}

func heard(rule circuitbreaker.Rule, now state) {
	if d, known := doors.Load(rule.Resource); known {
		d.(*Door).turned(rule, now) //nolint:forcetypeassert // nothing else is stored
	}
}

// slack makes "more than" of Sentinel's "as much as".
const slack = 1e-6

func (b Breaker) rule(resource string) *circuitbreaker.Rule {
	r := &circuitbreaker.Rule{
		Id: string(b.Kind), Resource: resource, MinRequestAmount: uint64(b.AtLeast), RetryTimeoutMs: uint32(b.Open.Milliseconds()),
		StatIntervalMs: uint32(b.Within.Milliseconds()), StatSlidingWindowBucketCount: buckets,
		ProbeNum: 0, // one call tries; with a number here all of them would
	}
	switch b.Kind {
	case Slow:
		r.Strategy, r.MaxAllowedRtMs, r.Threshold = circuitbreaker.SlowRequestRatio, uint64(b.Over.Milliseconds()), math.Min(1, b.Share+slack)
	case Errors:
		r.Strategy, r.Threshold = circuitbreaker.ErrorRatio, math.Min(1, b.Share+slack)
	case Failures:
		r.Strategy, r.Threshold = circuitbreaker.ErrorCount, float64(b.Count)
	}
	return r
}

// A rule that Sentinel does not like is dropped without an error, and its neighbours may go with it: only reading back
// tells.
var errDropped = errors.New("sentinel did not take a rule")

func loadBreakers(resource string, rules []*circuitbreaker.Rule) error {
	for _, r := range rules {
		if err := circuitbreaker.IsValidRule(r); err != nil {
			return fmt.Errorf("breaker %s: %w", r.Id, err)
		}
	}
	_, err := circuitbreaker.LoadRulesOfResource(resource, rules)
	if err == nil && len(circuitbreaker.GetRulesOfResource(resource)) != len(rules) {
		err = errDropped
	}
	return err
}

func loadFlow(resource string, perSecond *int64) error {
	var rules []*flow.Rule
	if perSecond != nil {
		rules = append(rules, &flow.Rule{
			Resource: resource, TokenCalculateStrategy: flow.Direct, ControlBehavior: flow.Reject,
			Threshold: float64(*perSecond), StatIntervalInMs: uint32(time.Second.Milliseconds()),
		})
	}
	_, err := flow.LoadRulesOfResource(resource, rules)
	if err == nil && len(flow.GetRulesOfResource(resource)) != len(rules) {
		err = errDropped
	}
	return err
}

// loadSkus limits order lines of each sku in rates, and of every other to rest where it is given.
func loadSkus(resource string, rates map[string]int64, rest *int64) error {
	var rules []*hotspot.Rule
	if len(rates) > 0 || rest != nil {
		r := &hotspot.Rule{
			Resource: resource, MetricType: hotspot.QPS, ControlBehavior: hotspot.Reject, ParamIndex: 0, DurationInSec: 1,
			ParamsMaxCapacity: remembered, SpecificItems: map[any]int64{}, Threshold: most,
		}
		if rest != nil {
			r.Threshold = *rest
		}
		for sku, rate := range rates {
			r.SpecificItems[sku] = rate
		}
		rules = append(rules, r)
	}
	_, err := hotspot.LoadRulesOfResource(resource, rules)
	if err == nil && len(hotspot.GetRulesOfResource(resource)) != len(rules) {
		err = errDropped
	}
	return err
}

// remembered is of how many skus the last second is known.
const remembered = 20_000
