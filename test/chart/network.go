package chart

import (
	"slices"
)

// end is one end of a connection: a pod with its labels and those of its namespace.
type end struct {
	labels, namespace object
}

// selects says whether a label selector selects labels. An empty one selects everything.
func selects(selector any, labels object) bool {
	wanted, _ := at(selector, "matchLabels").(object)
	for key, value := range wanted {
		if labels[key] != value {
			return false
		}
	}
	for _, e := range list(selector, "matchExpressions") {
		if text(e, "operator") != "In" {
			return false // the chart has no other
		}
		if !slices.Contains(list(e, "values"), labels[text(e, "key")]) {
			return false
		}
	}
	return true
}

// network is the NetworkPolicies of a release in the namespace here.
type network struct {
	policies []object
	here     object
}

func newNetwork(all []object, here object) network {
	n := network{here: here}
	for _, o := range all {
		if text(o, "kind") == "NetworkPolicy" {
			n.policies = append(n.policies, o)
		}
	}
	return n
}

// allows says whether from may open a connection to port of to, as Kubernetes decides: what no policy selects is free; what
// one selects needs a rule, at both ends.
func (n network) allows(from, to end, port int, protocol string) bool {
	return n.passes("Egress", "egress", "to", from, to, port, protocol) && n.passes("Ingress", "ingress", "from", to, from, port, protocol)
}

func (n network) passes(direction, rules, peers string, mine, other end, port int, protocol string) bool {
	selected := false
	for _, p := range n.policies {
		if !sameLabels(mine.namespace, n.here) || !selects(at(p, "spec", "podSelector"), mine.labels) || !slices.Contains(list(p, "spec", "policyTypes"), any(direction)) {
			continue
		}
		selected = true
		for _, rule := range list(p, "spec", rules) {
			if n.port(rule, port, protocol) && n.peer(list(rule, peers), other) {
				return true
			}
		}
	}
	return !selected
}

func (n network) port(rule any, port int, protocol string) bool {
	return slices.ContainsFunc(list(rule, "ports"), func(p any) bool { return at(p, "port") == port && text(p, "protocol") == protocol })
}

// peer says whether other is among peers; none named means everybody.
func (n network) peer(peers []any, other end) bool {
	return len(peers) == 0 || slices.ContainsFunc(peers, func(p any) bool {
		if at(p, "ipBlock") != nil {
			return false // the ends here are pods
		}
		if in := at(p, "namespaceSelector"); in != nil && !selects(in, other.namespace) || in == nil && !sameLabels(other.namespace, n.here) {
			return false
		}
		return selects(at(p, "podSelector"), other.labels)
	})
}

func sameLabels(a, b object) bool {
	return a["kubernetes.io/metadata.name"] == b["kubernetes.io/metadata.name"]
}
