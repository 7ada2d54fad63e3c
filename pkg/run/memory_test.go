package run

import (
	"runtime/debug"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// TestTheRuntimeKnowsTheContainersLimit changes the process's own limit, so it runs alone.
func TestTheRuntimeKnowsTheContainersLimit(t *testing.T) {
	was := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(was) })

	boundMemory(memlimit.Limit(1 << 30))
	if got, want := debug.SetMemoryLimit(-1), int64(966367641); got != want {
		t.Errorf("the limit is %d, want %d", got, want)
	}
	t.Setenv("GOMEMLIMIT", "512MiB")
	boundMemory(memlimit.Limit(2 << 30))
	if got, want := debug.SetMemoryLimit(-1), int64(966367641); got != want {
		t.Errorf("GOMEMLIMIT is overruled: the limit is %d", got)
	}
}
