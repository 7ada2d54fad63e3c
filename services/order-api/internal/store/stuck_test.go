package store_test

import (
	"maps"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// placedAt is an order's id as one that was made at that time has.
func placedAt(at time.Time) string {
	id := uuid.Must(uuid.NewV7())
	for i, ms := 5, at.UnixMilli(); i >= 0; i, ms = i-1, ms>>8 {
		id[i] = byte(ms)
	}
	return id.String()
}

func TestStuckOrdersAreCountedByWhatTheyWaitFor(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s shop) {
		s.stock(t, "tea", 100)
		var drafts []order.Draft
		for _, age := range []time.Duration{0, 2 * time.Minute, 2 * time.Minute, time.Hour, 48 * time.Hour} {
			d := draft("ann", order.Line{SkuID: "tea", Quantity: 1})
			d.ID, d.Payment = placedAt(time.Now().Add(-age)), order.Captured
			drafts = append(drafts, d)
		}
		_, err := s.Accept(t.Context(), drafts)
		must(t, err)
		stuck := func(when string, created, paid, overdue int64) {
			t.Helper()
			got, err := s.Stuck(t.Context())
			must(t, err)
			if want := map[string]int64{"created": created, "paid": paid, "overdue": overdue}; !maps.Equal(got, want) {
				t.Errorf("%s: %v, want %v", when, got, want)
			}
		}
		stuck("nobody booked: three of a minute to a day ago", 3, 0, 0)
		booked := drafts[1].ID
		s.must(t, about(order.UnitsBooked, booked, "inventory"))
		stuck("one is paid, and no parcel made of it", 2, 1, 0)
		made := about(order.Noted, booked, "logistics")
		made.Entry.Key, made.Entry.What = "logistics/shipment-created", "shipment-created"
		s.must(t, made)
		stuck("its parcel is made", 2, 0, 0)
		_, err = s.db.ExecContext(t.Context(), `UPDATE orders SET due_at = 1 WHERE id = $1`, drafts[2].ID)
		must(t, err)
		stuck("one is past its time", 2, 0, 1)
	})
}
