package run

import "runtime/debug"

// CollectLater lets garbage grow to four times what lives before it is collected: what lives in a service is small, and each
// request or batch leaves much behind. GOGC in the environment wins; GOMEMLIMIT bounds both.
func CollectLater() {
	const usual = 100
	if was := debug.SetGCPercent(4 * usual); was != usual {
		debug.SetGCPercent(was)
	}
}
