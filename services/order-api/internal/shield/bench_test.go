package shield

import (
	"testing"
)

// BenchmarkEnter is what a call costs: where no rule speaks of it, where breakers stand, and where flow is limited too.
func BenchmarkEnter(b *testing.B) {
	s := newShield(b, "flow: [{resource: order/pay, per_second: 1000000}]")
	for _, c := range []struct{ name, door string }{{"NoRule", "order/list"}, {"Breakers", CreateOrder}, {"Flow", "order/pay"}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			d := s.Door(c.door)
			for b.Loop() {
				if pass, err := d.Enter(b.Context()); err == nil {
					pass.Leave(nil)
				}
			}
		})
	}
	b.Run("Skus", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = s.Skus().Enter(b.Context(), "tea")
		}
	})
}
