package items

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redistest"
)

// Penetration: what does not exist reaches nobody.
func TestAbsentSkusAskNobody(t *testing.T) {
	t.Parallel()
	b := newTruth(t)
	b.list(t, 1, 450, "tea")
	r := open(t, b, own(t)).run()
	r.everybody(10_000, func(i int) string { return fmt.Sprint("absent ", i) })
	if n := b.asked(); n > 0 {
		t.Errorf("10,000 requests for absent skus asked the database %d times", n)
	}
	if r.Unknown([]order.Line{{SkuID: "tea"}, {SkuID: "absent 1"}}) == nil || r.Unknown([]order.Line{{SkuID: "tea"}}) != nil {
		t.Error("the wrong order is refused")
	}
	// What is listed after the filter was made is known at once, and to the next filter.
	b.list(t, 1, 100, "absent 7")
	r.Changed(t.Context(), "absent 7")
	if got := r.price("absent 7"); got != 100 || r.Unknown([]order.Line{{SkuID: "absent 7"}}) != nil {
		t.Errorf("an item that was just listed costs %d", got)
	}
}

// What one replica lists passes the filters of the others as soon as they are told, and those that nobody was told of when the
// filter is made anew.
func TestTheFilterIsKeptYoung(t *testing.T) {
	t.Parallel()
	b := newTruth(t)
	server := redistest.New(t)
	redis := redistest.Hurried(server.Addr)
	writer, reader := open(t, b, redis).run(), open(t, b, redis, func(c *Config) { c.FilterMaxAge = time.Second }).run()
	b.list(t, 1, 450, "tea", "mug")
	writer.Changed(t.Context(), "tea")
	reader.await("an item that another replica listed does not pass", func() bool { return reader.filter.mayHold("tea") })
	listed := b.listed.Load()
	reader.await("an item that nobody told of does not pass in the end", func() bool { return reader.filter.mayHold("mug") })
	if b.listed.Load() == listed {
		t.Error("the filter was not made anew")
	}
	server.Freeze() // nobody is told now
	b.list(t, 1, 450, "vase")
	writer.Changed(t.Context(), "vase")
	if writer.Unknown([]order.Line{{SkuID: "vase"}}) != nil {
		t.Error("an item is unknown to the replica that listed it")
	}
}

// What passes the filter by chance is asked for once, and then remembered as absent, here and in Redis.
func TestAbsenceIsRemembered(t *testing.T) {
	t.Parallel()
	b := newTruth(t)
	redis := own(t)
	first, second := open(t, b, redis), open(t, b, redis) // their filters are not made: everything passes
	for range 10 {
		if got := first.price("none"); got != -1 {
			t.Errorf("none costs %d", got)
		}
	}
	second.price("none")
	if n := b.asked(); n != 1 {
		t.Errorf("the database was asked %d times", n)
	}
	alone := open(t, b, none)
	for range 10 {
		alone.price("none")
	}
	if n := b.asked(); n != 1 {
		t.Errorf("without Redis the database was asked %d times", n)
	}
}

// The filter holds what it is made for at the rate it is made for, and everything that was listed while it was made.
func TestFilter(t *testing.T) {
	t.Parallel()
	f := &filter{size: 1_000_000, rate: 0.0001}
	must(t, f.build(t.Context(), func(context.Context) ([]string, error) {
		f.add("listed meanwhile")
		all := names(1_000_000)
		return all, nil
	}))
	wrong := 0
	for i := range 1_000_000 {
		if f.mayHold(fmt.Sprint("absent ", i)) {
			wrong++
		}
	}
	if wrong > 150 {
		t.Errorf("%d of 1,000,000 pass, want about 100", wrong)
	}
	for _, sku := range []string{"listed meanwhile", "sku 0", "sku 999999"} {
		if !f.mayHold(sku) {
			t.Errorf("%s does not pass", sku)
		}
	}
	f.doubt()
	if !f.mayHold("absent 1") {
		t.Error("a filter that is doubted still refuses")
	}
	must(t, f.build(t.Context(), func(context.Context) ([]string, error) { f.doubt(); return nil, nil }))
	if !f.mayHold("absent 1") {
		t.Error("a filter is believed although something was missed while it was made")
	}
}
