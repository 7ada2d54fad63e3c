package bench

import "testing"

func TestMemoryTakesTime(t *testing.T) {
	t.Parallel()
	if ns := cacheMiss(); ns < 0.5 || ns > 10_000 {
		t.Errorf("a read takes %v ns", ns)
	}
}
