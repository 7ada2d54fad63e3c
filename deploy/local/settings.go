package local

import (
	"maps"
	"slices"
	"strings"
)

// settings is an environment: what a service would read from its own, with the embedded parts put in.
type settings map[string]string

// embedded are settings that name servers and who signs tokens. Here both are in the process, so whatever the
// environment says about others does not count.
var embedded = []string{"DATABASE_DSN", "KAFKA_BROKERS", "KAFKA_TLS", "KAFKA_SASL", "REDIS_", "AUTH_JWKS", "INVENTORY_ADDR", "POINTS_ADDR", "LOGISTICS_ADDR"}

// owners are the prefixes of settings that services read.
var owners = []string{"FLOODGATE_", "ORDER_API_", "INVENTORY_", "POINTS_", "LOGISTICS_"}

// newSettings keeps what the environment says about how the suite behaves.
func newSettings(environ []string) settings {
	s := settings{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if value != "" && !namesServer(name) {
			s[name] = value
		}
	}
	return s
}

func namesServer(name string) bool {
	for _, owner := range owners {
		if key, ok := strings.CutPrefix(name, owner); ok {
			return slices.ContainsFunc(embedded, func(e string) bool { return strings.HasPrefix(key, e) })
		}
	}
	return false
}

// unless sets name where the environment neither did nor named a file for it.
func (s settings) unless(name, value string) {
	if s[name] == "" && s[name+"_FILE"] == "" {
		s[name] = value
	}
}

// environ is s as a process would get it, sorted.
func (s settings) environ() []string {
	all := make([]string, 0, len(s))
	for _, name := range slices.Sorted(maps.Keys(s)) {
		all = append(all, name+"="+s[name])
	}
	return all
}
