package dlqreplayer

import (
	"fmt"
	"log/slog"
	"testing"

	"go.opentelemetry.io/otel/metric/noop"
)

func TestACensusCountsWhatIsDeadByKind(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		c, err := newCensus(b.Store, slog.New(slog.DiscardHandler), noop.NewMeterProvider())
		must(b.T, err)
		must(b.T, c.take(b.Context()))
		if len(c.kinds) != 0 || len(c.oldest) != 0 || !c.known {
			b.Errorf("of nothing: %v %v", c.kinds, c.oldest)
		}
		b.collect(
			dead("points", "e-1", 1, 1000, "failed", "order 17 is odd"), dead("points", "e-2", 2, 2000, "failed", "order 18 is odd"),
			dead("points", "e-3", 3, 3000, "failed", "another cause"), dead("inventory", "e-1", 4, 4000, "malformed", "no id"))
		must(b.T, c.take(b.Context()))
		got := map[string]string{}
		for _, k := range c.kinds {
			got[k.Group+" "+k.Kind] = fmt.Sprint(k.Dead, " of ", k.Causes, " since ", k.NewestMS)
		}
		if fmt.Sprint(got) != "map[inventory malformed:1 of 1 since 3990 points failed:3 of 2 since 2990]" {
			b.Errorf("kinds %v", got)
		}
		if at, has := c.oldest["points"]; len(c.oldest) != 2 || !has || at > c.nowMS || c.nowMS-at > 60_000 {
			b.Errorf("the oldest lie here since %v, now %d", c.oldest, c.nowMS)
		}
	})
}

// TestKindsAreBounded has more kinds of error than anybody should: another tool's names of classes.
func TestKindsAreBounded(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		for i := range 120 {
			b.collect(dead("points", fmt.Sprint("e-", i), int64(i), 1000, fmt.Sprintf("Kind%dError", i), "odd"))
		}
		kinds, err := b.Kinds(b.Context())
		must(b.T, err)
		var letters, others int64
		for _, k := range kinds {
			letters += k.Dead
			if k.Kind == "other" {
				others = k.Dead
			}
		}
		if len(kinds) != 51 || letters != 120 || others != 70 {
			b.Errorf("%d kinds of %d letters, %d of them others", len(kinds), letters, others)
		}
	})
}
