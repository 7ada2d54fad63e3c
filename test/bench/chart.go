package bench

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// A chart is drawn by hand: no library draws one that follows the reader's choice of light or dark.

const (
	chartWide  = 760
	chartStyle = `<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.quiet { fill: #59636e }
.axis { stroke: #818b98; stroke-width: 1; fill: none }
.grid { stroke: #818b98; stroke-width: 1; opacity: .25 }
.c0 { fill: #0969da; stroke: #0969da } .c1 { fill: #bc4c00; stroke: #bc4c00 } .c2 { fill: #1a7f37; stroke: #1a7f37 }
.c3 { fill: #8250df; stroke: #8250df } .c4 { fill: #9a6700; stroke: #9a6700 }
.line { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .quiet { fill: #9198a1 }
  .c0 { fill: #4493f8; stroke: #4493f8 } .c1 { fill: #f0883e; stroke: #f0883e } .c2 { fill: #3fb950; stroke: #3fb950 }
  .c3 { fill: #ab7df8; stroke: #ab7df8 } .c4 { fill: #d29922; stroke: #d29922 }
}
</style>
`
)

// bar is one of a chart of bars; those of one colour belong together.
type bar struct {
	label  string
	value  float64
	colour int
}

// bars compares figures of one unit.
func bars(title, unit string, all []bar) string {
	const left, right, high = 350, 70, 24
	var most float64
	for _, b := range all {
		most = max(most, b.value)
	}
	var body strings.Builder
	for i, b := range all {
		y := 44 + i*high
		wide := float64(chartWide-left-right) * b.value / max(most, 1e-9)
		fmt.Fprintf(&body, `<text x="%d" y="%d" text-anchor="end">%s</text>`, left-8, y+13, html.EscapeString(b.label))
		fmt.Fprintf(&body, `<rect class="c%d" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, b.colour, left, y, max(1, wide), high-8)
		fmt.Fprintf(&body, `<text class="quiet" x="%.1f" y="%d">%s</text>`+"\n", left+wide+6, y+13, thousands(b.value))
	}
	return drawn(title, unit, 52+len(all)*high, body.String())
}

// point is one of a line.
type point struct{ x, y float64 }

// line is one of a chart of lines.
type line struct {
	name   string
	points []point
}

// lines shows how figures of one unit follow something else. Where logarithmic, its steps are powers of ten.
func lines(title, unit, along string, logarithmic bool, all []line) string {
	const left, right, top, tall = 70, 44, 72, 220
	scale := func(x float64) float64 { return x }
	if logarithmic {
		scale = func(x float64) float64 { return math.Log10(max(x, 1)) }
	}
	from, to, most := math.Inf(1), math.Inf(-1), 0.0
	for _, l := range all {
		for _, p := range l.points {
			from, to, most = min(from, scale(p.x)), max(to, scale(p.x)), max(most, p.y)
		}
	}
	most = nice(most)
	x := func(v float64) float64 { return left + (chartWide-left-right)*(scale(v)-from)/max(to-from, 1e-9) }
	y := func(v float64) float64 { return top + tall*(1-v/max(most, 1e-9)) }

	var body strings.Builder
	for i := range 5 {
		v := most * float64(i) / 4
		fmt.Fprintf(&body, `<path class="grid" d="M%d %.1fH%d"/><text class="quiet" x="%d" y="%.1f" text-anchor="end">%s</text>`,
			left, y(v), chartWide-right, left-8, y(v)+4, thousands(v))
	}
	fmt.Fprintf(&body, `<path class="axis" d="M%d %dV%dH%d"/>`+"\n", left, top, top+tall, chartWide-right)
	marked := map[string]bool{}
	for i, l := range all {
		path := "M"
		for _, p := range l.points {
			path += fmt.Sprintf("%.1f %.1f ", x(p.x), y(p.y))
			if mark := thousands(p.x); !marked[mark] && (logarithmic || int(p.x)%5 == 0) {
				marked[mark] = true
				fmt.Fprintf(&body, `<text class="quiet" x="%.1f" y="%d" text-anchor="middle">%s</text>`, x(p.x), top+tall+18, mark)
			}
			if logarithmic {
				fmt.Fprintf(&body, `<circle class="c%d" cx="%.1f" cy="%.1f" r="3"/>`, i, x(p.x), y(p.y))
			}
		}
		fmt.Fprintf(&body, `<path class="line c%d" style="fill:none" d="%s"/>`, i, strings.TrimSpace(path))
		fmt.Fprintf(&body, `<rect class="c%d" x="%d" y="44" width="12" height="12" rx="2"/><text x="%d" y="55">%s</text>`+"\n",
			i, left+i*165, left+18+i*165, html.EscapeString(l.name))
	}
	fmt.Fprintf(&body, `<text class="quiet" x="%d" y="%d" text-anchor="end">%s</text>`, chartWide-right, top+tall+36, html.EscapeString(along))
	return drawn(title, unit, top+tall+48, body.String())
}

func drawn(title, unit string, tall int, body string) string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s">`+"\n%s",
		chartWide, tall, html.EscapeString(title+", "+unit), chartStyle) +
		fmt.Sprintf(`<text class="title" x="8" y="22">%s <tspan class="quiet">%s</tspan></text>`+"\n", html.EscapeString(title), html.EscapeString(unit)) +
		body + "\n</svg>\n"
}

// nice is the next value from v on whose quarters are easy to read.
func nice(v float64) float64 {
	if v <= 0 {
		return 1
	}
	size := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8} {
		if step*size >= v {
			return step * size
		}
	}
	return 10 * size
}

// thousands writes a number with its thousands apart.
func thousands(v float64) string {
	if v < 10 && v != math.Trunc(v) {
		return fmt.Sprintf("%.1f", v)
	}
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
