package shipment_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/floodgate-dev/floodgate/services/logistics/internal/shipment"
)

func ExampleStatus_Hear() {
	fmt.Println(shipment.Created.Hear(shipment.HandedOut))
	fmt.Println(shipment.Shipped.Hear(shipment.Refunded))
	// Output:
	// [shipped delivered]
	// []
}

// Whatever is heard, in whatever order and however often: versions go up one by one, nothing is undone, and nothing
// leaves once it was called off.
func TestShipmentsMoveForwardOnly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var now shipment.Status
		var past []shipment.Status
		for range rapid.IntRange(1, 12).Draw(t, "news") {
			news := rapid.SampledFrom([]shipment.News{shipment.Paid, shipment.Refunded, shipment.OnItsWay, shipment.HandedOut}).Draw(t, "told")
			for _, to := range now.Hear(news) {
				if to.Version() != now.Version()+1 || slices.Contains(past, to) {
					t.Fatalf("%s after %v", to, past)
				}
				now, past = to, append(past, to)
			}
		}
		if slices.Contains(past, shipment.CalledOff) && slices.Contains(past, shipment.Shipped) {
			t.Fatalf("left and was called off: %v", past)
		}
	})
}

func TestWhatIsKnownOfACarrierStays(t *testing.T) {
	t.Parallel()
	s := shipment.Shipment{Status: shipment.Created, Carrier: "DHL"}
	after, steps := s.Hear(shipment.Report{News: shipment.OnItsWay, Carrier: "UPS", TrackingNo: "1"})
	if after.Carrier != "DHL" || after.TrackingNo != "1" || after.Status != shipment.Shipped || len(steps) != 1 {
		t.Errorf("%+v by %v", after, steps)
	}
	if again, steps := after.Hear(shipment.Report{News: shipment.OnItsWay, TrackingNo: "2"}); again != after || len(steps) != 0 {
		t.Errorf("%+v by %v", again, steps)
	}
}

func TestReportsNameTheFieldAtFault(t *testing.T) {
	t.Parallel()
	for field, bad := range map[string]shipment.Report{
		"status":      {News: shipment.Paid},
		"carrier":     {News: shipment.OnItsWay, Carrier: strings.Repeat("c", 101)},
		"tracking_no": {News: shipment.OnItsWay, TrackingNo: "1\x00"},
		"by":          {News: shipment.HandedOut, By: strings.Repeat("b", 256)},
	} {
		var invalid *shipment.Invalid
		if err := bad.Check(); !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("%+v: %v, want a complaint about %s", bad, err, field)
		}
	}
	if err := (shipment.Report{News: shipment.OnItsWay}).Check(); err != nil {
		t.Error(err)
	}
}
