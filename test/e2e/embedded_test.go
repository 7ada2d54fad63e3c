package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/test/books"
	"github.com/floodgate-dev/floodgate/test/suite"
)

// TestOneOrderLivesItsLifeEmbedded runs what `make run` runs, kills it in the middle of a sale and starts it again:
// nothing that was acknowledged is lost.
func TestOneOrderLivesItsLifeEmbedded(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	e := suite.NewEmbedded(t, root)
	e.Env = append(e.Env, "DEMO=on")
	began := time.Now()
	e.Start()
	e.WaitSays("One tea for the user demo", "points-awarded", "shipment-created", "curl -s")
	t.Logf("up and through one order in %v, %s resident", time.Since(began).Round(time.Millisecond), resident(t, e.PID()))

	showsTheSale(t, e)

	d := door{e.Base}
	d.journey(t, "tea", "u-1")
	var sold []suite.Order
	for i := range 60 {
		sold = append(sold, d.as(t, fmt.Sprintf("u-%d", 2+i%5)).Must(t, http.StatusCreated, http.MethodPost, "/orders", suite.Buy("tea", 1+i%3)).Order(t))
	}
	e.Kill() // the last ones are still being booked, paid and shipped

	e.Env = append(e.Env, "DEMO=off")
	again := time.Now()
	e.Start()
	e.WaitAddresses()
	t.Logf("up again after kill -9 in %v, %s resident", time.Since(again).Round(time.Millisecond), resident(t, e.PID()))
	for _, o := range sold {
		got := d.as(t, o.UserID).Must(t, http.StatusOK, http.MethodGet, "/orders/"+o.ID, nil).Order(t)
		if got.TotalCents != o.TotalCents || len(got.Items) != 1 || got.Items[0] != o.Items[0] {
			t.Errorf("order %s is %+v after kill -9, was acknowledged as %+v", o.ID, got, o)
		}
		reaches(t, d.as(t, o.UserID), o.ID, "paid")
	}
	d.journey(t, "tea", "u-9")

	stores, err := books.Find(root)
	if err != nil {
		t.Fatal(err)
	}
	report, err := books.Wait(t.Context(), stores, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Balanced() {
		t.Errorf("the books after kill -9:\n%s", report)
	}
	if code := e.Terminate(); code != 0 {
		t.Errorf("ended with status %d after SIGTERM, want 0", code)
	}
}

var (
	saleIsAt = regexp.MustCompile(`the sale +(http://\S+/)`)
	someSold = regexp.MustCompile(`Since this process began: <b>[1-9][0-9]*</b> accepted`)
)

// showsTheSale follows the address that the suite prints to the page of the sale, which counts the orders that were placed.
func showsTheSale(t *testing.T, e *suite.Embedded) {
	t.Helper()
	at := saleIsAt.FindStringSubmatch(e.Log())
	if at == nil {
		t.Fatalf("the suite does not say where the sale is seen:\n%s", e.Log())
	}
	suite.WaitFor(t, 10*time.Second, func() error {
		answer, err := http.Get(at[1])
		if err != nil {
			return err
		}
		defer func() { _ = answer.Body.Close() }() // it was read, or its error is told
		page, err := io.ReadAll(answer.Body)
		if err != nil {
			return err
		}
		kind := answer.Header.Get("Content-Type")
		if answer.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/html") || !someSold.Match(page) {
			return fmt.Errorf("%s does not show the sale: %d, %s\n%s", at[1], answer.StatusCode, kind, page)
		}
		return nil
	})
}

// resident is the memory that a process holds, as the system says it.
func resident(t *testing.T, pid int) string {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rss, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			return strings.TrimSpace(rss)
		}
	}
	t.Fatal("the system does not say how much memory it holds")
	return ""
}
