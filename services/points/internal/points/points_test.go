package points_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/floodgate-dev/floodgate/services/points/internal/points"
)

func ExampleFor() {
	fmt.Println(points.For(99), points.For(100), points.For(12_345))
	// Output: 0 1 123
}

// The model counts whole units one by one.
func TestAPointForEveryWholeUnit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Int64Range(0, 100_000).Draw(t, "total")
		var want points.Points
		for left := total; left >= 100; left -= 100 {
			want++
		}
		if got := points.For(points.Cents(total)); got != want {
			t.Fatalf("%d cents earn %d, want %d", total, got, want)
		}
	})
}

func TestARefundAwardsWhatItTakesBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		news points.News
		want []points.Kind
	}{
		{points.Paid, []points.Kind{points.Award}},
		{points.Refunded, []points.Kind{points.Award, points.TakeBack}},
		{"confirmed", nil},
	} {
		if got := c.news.Entries(); !slices.Equal(got, c.want) {
			t.Errorf("%s brings %v, want %v", c.news, got, c.want)
		}
	}
}

func TestAnOrderThatCannotBeRewardedIsRefused(t *testing.T) {
	t.Parallel()
	good := points.Order{ID: "o", User: "u", Total: 0}
	if err := good.Check(); err != nil {
		t.Errorf("%+v: %v", good, err)
	}
	for _, bad := range []points.Order{{ID: "o"}, {ID: "o", User: "u\x00"}, {ID: "o", User: "u", Total: -1}} {
		if bad.Check() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}
