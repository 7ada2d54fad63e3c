package redisdb_test

import (
	"strings"
	"testing"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/redisdb"
)

func TestConfigComplains(t *testing.T) {
	t.Parallel()
	for complaint, cfg := range map[string]redisdb.Config{
		"must be host:port":    {Addrs: []string{"a"}},
		"contradict":           {Addrs: []string{"a:1"}, Cluster: true, MasterName: "m"},
		"need redis_master":    {Addrs: []string{"a:1"}, SentinelUsername: "u"},
		"needs redis_password": {Addrs: []string{"a:1"}, Username: "u"},
	} {
		if bad := cfg.Check(); len(bad) != 1 || !strings.Contains(bad[0], complaint) {
			t.Errorf("%+v: complaints %q, want one with %q", cfg, bad, complaint)
		}
	}
	if bad := redisdb.Defaults().Check(); bad != nil {
		t.Errorf("the defaults: %q", bad)
	}
}
