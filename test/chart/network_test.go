package chart

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

func namespace(name string) object { return object{"kubernetes.io/metadata.name": name} }

// edge is one way that is open, written as from>to:port.
func edge(from, to string, port int) string { return fmt.Sprintf("%s>%s:%d", from, to, port) }

// TestOnlyTheEdgesThatExistAreOpen tries every pod against every door, and against the servers, from inside and outside.
func TestOnlyTheEdgesThatExistAreOpen(t *testing.T) {
	t.Parallel()
	doors := map[string]int{"order-api": 8080, "inventory": 9101, "points": 9102, "logistics": 9103, "dlq-replayer": 8085}
	ops := map[string]int{"order-api": 9180, "inventory": 9181, "points": 9182, "logistics": 9183, "dlq-replayer": 9184}
	jobs := []string{"migrate", "topics", "smoke"}
	for _, c := range []struct {
		values               string
		postgres, kafka, tcp int // ports; tcp is Redis'
		outside              map[string]end
		more                 []string
	}{
		{"ci/minimal.yaml", 5432, 9092, 6379, map[string]end{"anybody": {object{}, namespace("elsewhere")}}, []string{
			"anybody>order-api:8080", "data>order-api:8080", "dns>order-api:8080", "prometheus>order-api:8080", // the public door
		}},
		{"ci/everything.yaml", 5432, 9093, 26379, map[string]end{
			"anybody": {object{}, namespace("elsewhere")}, "gateway": {object{}, namespace("ingress")}, "person": {object{}, namespace("operators")},
			"collector": {object{}, namespace("observability")},
		}, []string{"gateway>order-api:8080", "person>dlq-replayer:8085"}},
	} {
		t.Run(c.values, func(t *testing.T) {
			t.Parallel()
			all := render(t, "helm4", c.values)
			net := newNetwork(all, namespace("shop"))
			ends := map[string]end{"prometheus": {object{}, namespace("monitoring")}, "dns": {object{}, namespace("kube-system")}, "data": {object{}, namespace("data")}}
			maps.Copy(ends, c.outside)
			inside := slices.Concat(slices.Collect(maps.Keys(doors)), jobs)
			for _, p := range pods(t, all) {
				ends[p.component] = end{p.labels, namespace("shop")}
			}

			want := map[string]bool{}
			for _, e := range c.more {
				want[e] = true
			}
			for _, to := range []string{"inventory", "points", "logistics"} {
				want[edge("order-api", to, doors[to])] = true
			}
			want[edge("smoke", "order-api", 8080)] = true
			for to, port := range ops {
				want[edge("prometheus", to, port)] = true
			}
			for _, from := range inside {
				want[edge(from, "data", c.postgres)], want[edge(from, "data", c.kafka)], want[edge(from, "dns", 53)] = true, true, true
			}
			want[edge("order-api", "data", c.tcp)] = true
			if c.values == "ci/minimal.yaml" {
				for e := range maps.Clone(want) { // its servers may be anywhere
					for _, other := range slices.Sorted(maps.Keys(ends)) {
						if !slices.Contains(inside, other) {
							for _, from := range inside {
								for _, port := range []int{c.postgres, c.kafka, c.tcp} {
									if e == edge(from, "data", port) {
										want[edge(from, other, port)] = true
									}
								}
							}
						}
					}
				}
			} else {
				for _, from := range inside {
					want[edge(from, "collector", 4318)] = true
				}
				want["order-api>data:6379"] = true // the master that the sentinels name
			}

			for _, from := range slices.Sorted(maps.Keys(ends)) {
				for _, to := range slices.Sorted(maps.Keys(ends)) {
					if from == to || !slices.Contains(inside, from) && !slices.Contains(inside, to) {
						continue
					}
					for _, port := range []int{8080, 8085, 9101, 9102, 9103, 9180, 9181, 9182, 9183, 9184, 5432, 9092, 9093, 6379, 26379, 53, 4318, 443, 22} {
						e := edge(from, to, port)
						// A pod that only waits for names, or for a port that nobody of ours opens, is no edge.
						if slices.Contains(inside, to) && doors[to] != port && ops[to] != port {
							continue
						}
						if got := net.allows(ends[from], ends[to], port, "TCP"); got != want[e] {
							t.Errorf("%s is open: %v, want %v", e, got, want[e])
						}
					}
				}
			}
			if !net.allows(ends["points"], ends["dns"], 53, "UDP") {
				t.Error("nobody resolves names")
			}
		})
	}
}
