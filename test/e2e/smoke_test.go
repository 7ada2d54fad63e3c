package e2e_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/test/suite"
)

// TestSmokeTriesARunningSuite runs the word that `helm test` runs: against a suite that works, and against one whose
// logistics is gone.
func TestSmokeTriesARunningSuite(t *testing.T) {
	t.Parallel()
	s := suite.Start(t, suite.Config{})
	smoke := func(timeout string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, suite.Binary(t, "order-api"), "smoke", "--url", "http://"+s.Part("order-api", 0).Addr, "--timeout", timeout)
		cmd.Env = []string{"ORDER_API_AUTH_KEY=" + suite.Key, "ORDER_API_DATABASE_DSN=sqlite:unused"}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := smoke("60s")
	if err != nil || strings.Count(out, "ok: ") != 8 {
		t.Fatalf("against a suite that works: %v\n%s", err, out)
	}
	s.Balance()
	s.Part("logistics", 0).Kill()
	if out, err = smoke("5s"); err == nil || !strings.Contains(out, "logistics has made the parcel: not so") {
		t.Errorf("without logistics: %v\n%s", err, out)
	}
}
