package browser_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/test/suite"
)

// The page of the sale shows what is sold and refused as it happens, stands still when told to, and says so when the service
// is gone. More rounds make a longer sale, for its picture.
func TestTheSaleIsSeen(t *testing.T) {
	t.Parallel()
	s := suite.Start(t, suite.Config{Services: []string{"order-api", "inventory"}})
	r := open(t, "http://"+s.Part("order-api", 0).Ops)
	r.goTo("/")
	r.sees("The sale, as it happens")
	r.sees("Live.")
	r.holds(told("h-refused", "None was."))

	s.Sell("lamp", 1_000_000)
	s.Sell("rare", 3)
	load := s.Load(8, "lamp", "lamp", "lamp", "rare")
	for range servertest.Rounds(1) {
		load.Await(300, time.Minute)
		r.holds(`parseFloat(document.querySelector("[aria-labelledby=h-orders] .k0 b").textContent) > 0`)
	}
	load.Stop()
	s.As(0, "buyer").Must(t, http.StatusUnprocessableEntity, http.MethodPost, "/orders", suite.Buy("no-such-thing", 1))
	r.holds(told("h-refused", "sold-out"))
	r.holds(told("h-refused", "unknown-item"))
	for _, h := range []string{"h-answer", "h-wait", "h-batch", "h-outbox"} {
		r.holds(fmt.Sprintf(`/\d/.test(document.querySelector("[aria-labelledby=%s] .k0 b").textContent)`, h))
		r.holds(fmt.Sprintf(`document.querySelector("[aria-labelledby=%s] path.l0").getAttribute("d").length > 20`, h))
	}
	r.picture("sale")

	r.press("Stand still")
	r.sees("Standing still.")
	r.holds(`(window.seen = document.querySelector("time").dateTime) !== ""`)
	s.As(0, "buyer").Must(t, http.StatusCreated, http.MethodPost, "/orders", suite.Buy("lamp", 1))
	still := time.Now()
	suite.WaitFor(t, step, func() error {
		if time.Since(still) < 3*time.Second {
			return errors.New("the page has not had the time to move")
		}
		return nil
	})
	r.holds(`document.querySelector("time").dateTime === window.seen`)
	r.press("Follow again")
	r.holds(`document.querySelector("time").dateTime > window.seen`)

	s.Part("order-api", 0).Kill()
	r.sees("It does not answer: what you see is old.")
	s.Part("order-api", 0).Restart()
	r.sees("Live.")
}

// told says that the part of the page with the heading has the text.
func told(heading, text string) string {
	return fmt.Sprintf(`document.querySelector("[aria-labelledby=%s]")?.innerText.includes(%q)`, heading, text)
}
