package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/test/suite"
)

// door is a running suite, whatever it runs on.
type door struct{ base string }

func (d door) as(t *testing.T, subject string, roles ...string) suite.Client {
	t.Helper()
	return suite.Client{Base: d.base, Token: suite.Token(t, subject, roles...)}
}

// journey takes one order through its whole life: accepted, booked, paid, rewarded, shipped, delivered, refunded.
func (d door) journey(t *testing.T, sku, user string) {
	t.Helper()
	customer, operator, shop := d.as(t, user), d.as(t, "carrier-desk", "operator"), d.as(t, "web-shop", "shop")
	order := customer.Must(t, http.StatusCreated, http.MethodPost, "/orders", suite.Buy(sku, 2)).Order(t)
	if order.Status != "created" || order.TotalCents != 900 || order.UserID != user {
		t.Fatalf("accepted as %+v", order)
	}
	reaches(t, customer, order.ID, "paid")
	points(t, customer, 9)
	parcel := shipment(t, customer, order.ID)
	for _, news := range []string{"shipped", "delivered"} {
		a, err := operator.Do(t.Context(), http.MethodPost, "/shipments/"+parcel+"/events",
			map[string]any{"status": news, "carrier": "Pigeon", "trackingNo": "P-1"})
		if err != nil || a.Status/100 != 2 {
			t.Fatalf("the carrier's news %s: %v %v", news, a, err)
		}
		reaches(t, customer, order.ID, news)
	}
	shop.Must(t, http.StatusOK, http.MethodPost, "/orders/"+order.ID+"/refund", map[string]any{"reason": "broken on arrival"})
	reaches(t, customer, order.ID, "refunded")
	points(t, customer, 0)
	tellsAll(t, customer, order.ID)
}

// reaches waits until the order has the status; an order that is already past it fails the test.
func reaches(t *testing.T, c suite.Client, id, status string) {
	t.Helper()
	suite.WaitFor(t, 30*time.Second, func() error {
		a, err := c.Do(t.Context(), http.MethodGet, "/orders/"+id, nil)
		if err != nil {
			return err
		}
		if a.Status != http.StatusOK {
			return fmt.Errorf("order %s: %v", id, a)
		}
		if got := a.Order(t).Status; got != status {
			return fmt.Errorf("order %s is %s, want %s", id, got, status)
		}
		return nil
	})
}

func points(t *testing.T, c suite.Client, want int64) {
	t.Helper()
	suite.WaitFor(t, 30*time.Second, func() error {
		var has struct {
			Balance *int64 `json:"balance"`
		}
		return read(t, c, "/me/points", &has, func() error {
			if has.Balance == nil || *has.Balance != want {
				return fmt.Errorf("the balance is not %d", want)
			}
			return nil
		})
	})
}

func shipment(t *testing.T, c suite.Client, order string) string {
	t.Helper()
	var parcel struct {
		ID     string `json:"id"`
		Status string `json:"status"`
	}
	suite.WaitFor(t, 30*time.Second, func() error {
		return read(t, c, "/orders/"+order+"/shipment", &parcel, func() error {
			if parcel.ID == "" || parcel.Status != "created" {
				return fmt.Errorf("the parcel is %+v", parcel)
			}
			return nil
		})
	})
	return parcel.ID
}

// read asks for path and judges the answer with check.
func read(t *testing.T, c suite.Client, path string, into any, check func() error) error {
	t.Helper()
	a, err := c.Do(t.Context(), http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if a.Status != http.StatusOK {
		return fmt.Errorf("GET %s: %v", path, a)
	}
	if err := json.Unmarshal(a.Body, into); err != nil {
		return fmt.Errorf("GET %s: %v: %w", path, a, err)
	}
	if err := check(); err != nil {
		return fmt.Errorf("GET %s: %v: %w", path, a, err)
	}
	return nil
}

// tellsAll wants every service in the order's timeline, oldest first.
func tellsAll(t *testing.T, c suite.Client, order string) {
	t.Helper()
	suite.WaitFor(t, 30*time.Second, func() error {
		var told struct {
			Entries []struct {
				At      time.Time `json:"at"`
				Service string    `json:"service"`
				What    string    `json:"what"`
			} `json:"entries"`
		}
		return read(t, c, "/orders/"+order+"/timeline", &told, func() error {
			heard := map[string]int{}
			for i, e := range told.Entries {
				heard[e.Service]++
				if i > 0 && e.At.Before(told.Entries[i-1].At) {
					return fmt.Errorf("entry %d is older than the one before it", i)
				}
			}
			// Booked; awarded and taken back; made, shipped and delivered; the moves.
			if heard["inventory"] < 1 || heard["points"] < 2 || heard["logistics"] < 3 || heard["order-api"] < 3 {
				return fmt.Errorf("heard of %v", heard)
			}
			return nil
		})
	})
}
