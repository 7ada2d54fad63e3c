package run

import (
	"github.com/KimMachineGun/automemlimit/memlimit"
)

// roomForOthers is the share of the container's memory that is left to what the Go runtime does not count: binary, C, kernel.
const roomForOthers = 0.1

// boundMemory tells the Go runtime how much memory the container may use, so that it collects garbage sooner rather than
// being killed. GOMEMLIMIT in the environment wins; where there is no limit nothing changes.
func boundMemory(limit memlimit.Provider) {
	_, _ = memlimit.Set(memlimit.WithProvider(limit), memlimit.WithRatio(1-roomForOthers)) // no limit is no fault
}
