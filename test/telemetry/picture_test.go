package telemetry_test

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The picture of a trace, docs/images/trace.svg. It is written by hand: no library draws one that follows the reader's choice of
// light or dark.
const (
	wide, high  = 960, 20        // of the picture, and of one span's row
	names, took = 400, wide - 80 // where bars begin and end
	pictureHead = `<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 13px } .quiet { fill: #59636e } .grid { stroke: #818b98; opacity: .3 }
.order-api { fill: #0969da } .inventory { fill: #bc4c00 } .points { fill: #1a7f37 } .logistics { fill: #8250df }
.waits { fill: #1f2328; opacity: .55 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .quiet { fill: #9198a1 } .waits { fill: #f0f6fc }
  .order-api { fill: #4493f8 } .inventory { fill: #f0883e } .points { fill: #3fb950 } .logistics { fill: #ab7df8 }
}
</style>
`
)

// draw draws the order's trace twice, until its answer and to its end, and leaves it beside the pictures of the pages. In a
// span's bar the time stands dark in which it asked a database or Redis.
func draw(t *testing.T, all []span, of []branch) {
	t.Helper()
	asked := map[string][]span{}
	for _, s := range all {
		if words(s.GetAttributes())["db.system.name"] != "" {
			asked[string(s.GetParentSpanId())] = append(asked[string(s.GetParentSpanId())], s)
		}
	}
	root := of[0]
	var request []branch
	last := root.GetEndTimeUnixNano()
	for _, s := range of {
		if s.GetStartTimeUnixNano() < root.GetEndTimeUnixNano() && s.depth < 2 {
			request = append(request, s)
		}
		last = max(last, s.GetEndTimeUnixNano())
	}
	var body strings.Builder
	y := panel(&body, 0, "Until the shop has its answer", request, asked, root.GetStartTimeUnixNano(), root.GetEndTimeUnixNano())
	y = panel(&body, y+16, "Until every service knows", of, asked, root.GetStartTimeUnixNano(), last)
	x := names
	for _, service := range []string{"order-api", "inventory", "points", "logistics", "waits"} {
		label := service
		if service == "waits" {
			label = "waiting for Postgres or Redis"
		}
		fmt.Fprintf(&body, `<rect class="%s" x="%d" y="%d" width="10" height="10" rx="2"/><text x="%d" y="%d">%s</text>`+"\n", service, x, y+10, x+15, y+19, label)
		x += 92
	}
	y += 32
	picture := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="The trace of one order">`+"\n%s%s</svg>\n", wide, y, pictureHead, body.String())
	folder := "../../.floodgate/screenshots"
	if err := os.MkdirAll(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "trace.svg"), []byte(picture), 0o600); err != nil {
		t.Fatal(err)
	}
}

// panel draws rows between two moments from y on, and returns where it ends.
func panel(body *strings.Builder, y int, title string, rows []branch, asked map[string][]span, from, to uint64) int {
	scale := func(at uint64) float64 {
		at = min(max(at, from), to)
		return names + float64(took-names)*float64(at-from)/float64(to-from)
	}
	bar := func(s span, class string, y, high int) {
		x := scale(s.GetStartTimeUnixNano())
		fmt.Fprintf(body, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d" rx="2"/>`, class, x, y, max(1.5, scale(s.GetEndTimeUnixNano())-x), high)
	}
	fmt.Fprintf(body, `<text class="title" x="0" y="%d">%s</text>`+"\n", y+18, title)
	y += 28
	below := y + len(rows)*high
	for part := range 5 {
		x := names + (took-names)*part/4
		at := time.Duration(to-from) * time.Duration(part) / 4
		fmt.Fprintf(body, `<path class="grid" d="M%d %dV%d"/><text class="quiet" x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", x, y-6, below, x, y-10, short(at))
	}
	for _, s := range rows {
		fmt.Fprintf(body, `<text x="%d" y="%d">%s <tspan class="quiet">%s</tspan></text>`, 14*s.depth, y+14, html.EscapeString(s.GetName()), s.service)
		bar(s.span, s.service, y+4, high-8)
		for _, a := range asked[string(s.GetSpanId())] {
			bar(a, "waits", y+7, high-14)
		}
		fmt.Fprintf(body, `<text class="quiet" x="%d" y="%d">%s</text>`+"\n", took+8, y+14, short(time.Duration(s.GetEndTimeUnixNano()-s.GetStartTimeUnixNano())))
		y += high
	}
	return y
}

// short is a duration to its first few digits.
func short(d time.Duration) string {
	switch {
	case d >= 100*time.Millisecond:
		return d.Round(time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}
