package alerts_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"testing"
)

// alertmanager is its configuration, as far as it is looked at here. That Alertmanager takes the file is amtool's to say.
type alertmanager struct {
	Route   route
	Inhibit []inhibition `yaml:"inhibit_rules"`
}

type route struct {
	Receiver string
	GroupBy  []string `yaml:"group_by"`
	Repeat   string   `yaml:"repeat_interval"`
	Routes   []route
}

// flat is the route with all below it, each with what it inherits where it says nothing itself.
func (r route) flat() []route {
	all := []route{r}
	for _, below := range r.Routes {
		if below.Receiver == "" {
			below.Receiver = r.Receiver
		}
		if below.GroupBy == nil {
			below.GroupBy = r.GroupBy
		}
		if below.Repeat == "" {
			below.Repeat = r.Repeat
		}
		all = append(all, below.flat()...)
	}
	return all
}

// TestAMessageIsOfOneGroupAndTopic wants alerts about one consumer group and topic in one message on every way to people, said
// again every four hours.
func TestAMessageIsOfOneGroupAndTopic(t *testing.T) {
	t.Parallel()
	var c alertmanager
	read(t, configuration, &c)
	ways := c.Route.flat()
	if len(ways) != 3 {
		t.Fatalf("there are %d routes, want the root, the pager's and the chat's", len(ways))
	}
	for _, r := range ways {
		if want := []string{"namespace", "alertname", "consumergroup", "topic"}; !slices.Equal(r.GroupBy, want) {
			t.Errorf("the route to the %s groups by %q, want %q", r.Receiver, r.GroupBy, want)
		}
		if r.Repeat != "4h" {
			t.Errorf("the route to the %s repeats after %q, want 4h", r.Receiver, r.Repeat)
		}
	}
}

// inhibition keeps the targets quiet while a source fires, where both have the same of all labels in Equal.
type inhibition struct {
	Source []matcher `yaml:"source_matchers"`
	Target []matcher `yaml:"target_matchers"`
	Equal  []string
}

// inhibits judges as Alertmanager does: a label that is not there is an empty one.
func (i inhibition) inhibits(source, target labels) bool {
	fits := func(all []matcher, l labels) bool {
		return !slices.ContainsFunc(all, func(m matcher) bool { return !m.takes(l) })
	}
	differs := func(name string) bool { return source[name] != target[name] }
	return fits(i.Source, source) && fits(i.Target, target) && !slices.ContainsFunc(i.Equal, differs)
}

type labels = map[string]string

// matcher is a condition on one label, as Alertmanager's file has it: severity="page", alertname=~"A|B".
type matcher struct {
	name   string
	negate bool
	value  *regexp.Regexp
}

var condition = regexp.MustCompile(`^([a-z_]+)(=|!=|=~|!~)"([^"\\]*)"$`)

func (m *matcher) UnmarshalText(text []byte) error {
	part := condition.FindSubmatch(text)
	if part == nil {
		return fmt.Errorf("%q is no matcher that this test understands", text)
	}
	name, operator, value := string(part[1]), string(part[2]), string(part[3])
	if operator == "=" || operator == "!=" {
		value = regexp.QuoteMeta(value)
	}
	whole, err := regexp.Compile("^(?:" + value + ")$")
	*m = matcher{name, operator[0] == '!', whole}
	return err
}

func (m matcher) takes(l labels) bool { return m.value.MatchString(l[m.name]) != m.negate }

// with is l and one more label, or one that is different.
func with(l labels, name, value string) labels {
	l = maps.Clone(l)
	l[name] = value
	return l
}

// TestTheCauseSilencesItsEffectsOnly has each inhibition meet an alert that it must keep quiet and some that it must let through:
// they differ in just what the inhibition is about.
func TestTheCauseSilencesItsEffectsOnly(t *testing.T) {
	t.Parallel()
	var c alertmanager
	read(t, configuration, &c)
	budget := labels{"namespace": "shop", "alertname": "AcceptAvailability", "severity": "page", "burn": "14.4", "window": "1h"}
	down := labels{"namespace": "shop", "alertname": "ServiceDown", "severity": "page", "job": "order-api", "instance": "order-api:9180"}
	stands := labels{"namespace": "shop", "alertname": "ConsumerStuck", "severity": "page", "consumergroup": "points", "topic": "order-status-changes"}
	stalled := labels{"namespace": "shop", "alertname": "OutboxStalled", "severity": "page", "job": "order-api"}
	cause := labels{"namespace": "shop", "alertname": "DeadLetterNewCause", "severity": "chat", "consumergroup": "points", "kind": "failed"}
	slower := with(with(with(budget, "severity", "chat"), "burn", "1"), "window", "3d")
	pool := with(with(down, "alertname", "PoolExhausted"), "severity", "chat")
	lags := with(stands, "alertname", "ConsumerLagHigh")
	stuck := labels{"namespace": "shop", "alertname": "OrdersStuck", "severity": "chat", "state": "paid"}
	letters := with(with(cause, "alertname", "DeadLettersNew"), "topic", "order-status-changes")

	all, tried := alerts(t), map[int]bool{}
	for _, pair := range []struct {
		what   string
		source labels
		quiet  labels // if any
		rule   int    // the only one that keeps it quiet
		loud   []labels
	}{
		{"the loud one of two with the same name", budget, slower, 0, []labels{
			with(slower, "alertname", "AcceptLatency"), with(slower, "namespace", "other"), with(slower, "severity", "page"),
		}},
		{
			"the loud one of two about the same state", with(stuck, "severity", "page"), stuck, 0,
			[]labels{with(stuck, "state", "created")},
		},
		{
			"the loud one of two about the same why",
			labels{"alertname": "OrderStateDisagrees", "severity": "page", "why": "missing"},
			labels{"alertname": "OrderStateDisagrees", "severity": "chat", "why": "missing"},
			0,
			[]labels{{"alertname": "OrderStateDisagrees", "severity": "chat", "why": "differs"}},
		},
		{
			"the loud one of two about the same certificate",
			labels{"alertname": "CertificateExpiring", "severity": "page", "name": "kafka-user"},
			labels{"alertname": "CertificateExpiring", "severity": "chat", "name": "kafka-user"},
			0,
			[]labels{
				{"alertname": "CertificateExpiring", "severity": "chat", "name": "redis"},
				{"alertname": "CertificateExpiring", "severity": "chat", "name": "kafka-user", "instance": "https://shop.example"},
			},
		},
		{what: "two that are as loud", source: slower, loud: []labels{with(slower, "burn", "3")}},
		{"who is down has no pool", down, pool, 1, []labels{
			with(pool, "job", "points"), with(pool, "namespace", "other"), with(pool, "alertname", "OrdersStuck"), stands,
		}},
		{"who is down has no breaker", down, with(pool, "alertname", "BreakerOpen"), 1, nil},
		{"who is down has no relay", down, stalled, 1, nil},
		{what: "a pool takes nobody down", source: pool, loud: []labels{down, with(pool, "alertname", "BreakerOpen")}},
		{"a group that stands still lags", stands, lags, 2, []labels{
			with(lags, "topic", "order_created"), with(lags, "consumergroup", "logistics"), with(lags, "namespace", "other"),
			with(lags, "alertname", "ConsumerOffsetLost"),
		}},
		{what: "one that lags may stand still", source: lags, loud: []labels{stands}},
		{what: "one whose offsets are lost may lag", source: with(stands, "alertname", "ConsumerOffsetLost"), loud: []labels{lags}},
		{"orders are stuck where their events are: in the outbox", stalled, stuck, 3, []labels{
			with(stuck, "namespace", "other"), with(pool, "job", "points"),
		}},
		{"orders are stuck where their events are: before a group", stands, stuck, 3, nil},
		{"orders are stuck where their events are: in its lag", lags, stuck, 3, nil},
		{"a new cause comes with new letters", cause, letters, 4, []labels{
			with(letters, "kind", "undecodable"), with(letters, "consumergroup", "logistics"), with(letters, "namespace", "other"),
			with(letters, "alertname", "DeadLettersOld"),
		}},
		{what: "old letters are no news", source: with(cause, "alertname", "DeadLettersOld"), loud: []labels{letters}},
	} {
		for _, l := range append([]labels{pair.source}, pair.loud...) {
			if all[l["alertname"]] == nil {
				t.Errorf("%s: there is no alert %s", pair.what, l["alertname"])
			}
		}
		keeps := func(target labels) (rules []int) {
			for n, i := range c.Inhibit {
				if i.inhibits(pair.source, target) {
					rules = append(rules, n)
				}
			}
			return rules
		}
		if pair.quiet != nil {
			tried[pair.rule] = true
			if by := keeps(pair.quiet); !slices.Equal(by, []int{pair.rule}) {
				t.Errorf("%s: while %v fires, %v is kept quiet by the inhibitions %v, want %d", pair.what, pair.source, pair.quiet, by, pair.rule)
			}
		}
		for _, target := range pair.loud {
			if by := keeps(target); by != nil {
				t.Errorf("%s: while %v fires, the inhibitions %v keep %v quiet", pair.what, pair.source, by, target)
			}
		}
	}
	for n := range c.Inhibit {
		if !tried[n] {
			t.Errorf("no pair tries the inhibition %d", n)
		}
	}
}
