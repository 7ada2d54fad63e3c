package bench

import (
	"math/rand/v2"
	"time"
)

const rowMemory = "a read that waits for the one before, anywhere in 8 MB"

// quietNS is what it takes at most on a machine that is left alone.
const quietNS = 20

// cacheMiss is how many ns one read takes that waits for the one before, in a ring of random steps through 8 MB. That much fits into
// the cache that processors share, where it has room: guests of one host that use it up make every process here slower, and the kernel
// counts their waits as work.
func cacheMiss() float64 {
	const words, laps = 8 << 20 / 4, 2
	ring := make([]int32, words)
	steps := rand.Perm(words)
	for i, from := range steps {
		ring[from] = int32(steps[(i+1)%words])
	}
	at, began := int32(0), time.Now()
	for range laps * words {
		at = ring[at]
	}
	took := time.Since(began)
	if at != 0 { // it walked whole laps; asking keeps the compiler from leaving the walk out
		panic("a ring has an end")
	}
	return float64(took.Nanoseconds()) / (laps * words)
}
