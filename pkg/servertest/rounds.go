package servertest

import (
	"os"
	"strconv"
)

// Rounds is how often a test repeats itself: FLOODGATE_ROUNDS where it is set, for a release; few otherwise.
func Rounds(few int) int {
	if n, err := strconv.Atoi(os.Getenv("FLOODGATE_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return few
}
