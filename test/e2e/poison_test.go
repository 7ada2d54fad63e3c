package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/test/books"
	"github.com/floodgate-dev/floodgate/test/poison"
	"github.com/floodgate-dev/floodgate/test/suite"
)

// TestPoisonIsSeenAndMended follows what `make poison` prints: four causes; three letters are mended, rehearsed and
// replayed, an order's timeline shows the effect, and the rest is discarded. The books balance before and after.
func TestPoisonIsSeenAndMended(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	e := suite.NewEmbedded(t, root)
	environ := []string{"FLOODGATE_AUTH_KEY=" + suite.Key}
	var said bytes.Buffer
	if code := poison.Main(t.Context(), []string{"--state", root}, environ, &said, &said); code != 1 || !strings.Contains(said.String(), "no suite runs") {
		t.Errorf("without a suite: status %d and %q", code, said.String())
	}
	e.Env = append(e.Env, "DEMO=off")
	e.Start()
	e.WaitAddresses()
	report, err := poison.Put(t.Context(), root, environ)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("seen after %v\n%s", report.Took.Round(time.Millisecond), report)
	d := desk{t, suite.Client{Base: report.Replayer, Token: suite.Token(t, "ann", "operator")}}
	d.dead("inventory failed", "inventory malformed-order", "order-api undecodable", "order-api malformed-event")
	balance(t, root)

	unlisted, wrong, unreadable := report.Letters[0].ID, report.Letters[1].ID, report.Letters[2].ID
	d.replay("rehearse", unlisted, "failed-again")
	d.replay("run", unlisted, "failed-again")
	balance(t, root)
	shop := suite.Client{Base: e.Base, Token: d.Token}
	shop.Must(t, http.StatusAccepted, http.MethodPut, "/items/"+report.SKU, json.RawMessage(report.Listing()))
	d.replay("rehearse", unlisted, "applied")
	d.replay("run", unlisted, "applied")

	var whole struct {
		Decoded map[string]any `json:"decoded"`
	}
	answered(t, d.Must(t, http.StatusOK, http.MethodGet, "/letters/"+wrong, nil), &whole)
	whole.Decoded["order"].(map[string]any)["id"] = report.Order
	d.Must(t, http.StatusOK, http.MethodPost, "/letters/"+wrong+"/edit", map[string]any{"value": whole.Decoded, "reason": "the id lost a character"})
	d.replay("run", wrong, "skipped")
	d.replay("rehearse", wrong, "applied")
	d.replay("run", wrong, "applied")

	parcel := report.Letters[3].ID
	timeline := "/orders/" + report.Accepted + "/timeline"
	if told := shop.Must(t, http.StatusOK, http.MethodGet, timeline, nil); strings.Contains(string(told.Body), "Poison Parcels") {
		t.Errorf("the timeline tells of the parcel before its letter is applied: %v", told)
	}
	d.Must(t, http.StatusOK, http.MethodPost, "/letters/patch", map[string]any{
		"selection": map[string]any{"ids": []string{parcel}}, "patch": json.RawMessage(report.Parcel()), "reason": "the id lost a character",
	})
	d.replay("rehearse", parcel, "applied")
	d.replay("run", parcel, "applied")
	if told := shop.Must(t, http.StatusOK, http.MethodGet, timeline, nil); !strings.Contains(string(told.Body), "Poison Parcels") {
		t.Errorf("the timeline does not tell of the parcel: %v", told)
	}

	// order-api never accepted the order and gives up what inventory says of it: that it was booked, and released.
	suite.WaitFor(t, 30*time.Second, func() error {
		var page struct{ Letters []struct{ ID string } }
		answered(t, d.Must(t, http.StatusOK, http.MethodGet, "/letters?state=dead&group=order-api&text="+report.Order, nil), &page)
		if len(page.Letters) != 2 {
			return fmt.Errorf("order-api gave up %d records, want 2", len(page.Letters))
		}
		return nil
	})
	d.Must(t, http.StatusOK, http.MethodPost, "/letters/discard", map[string]any{
		"selection": map[string]any{"filter": map[string]string{"group": "order-api", "text": report.Order}}, "reason": "nobody accepted it",
	})
	d.dead("order-api undecodable")
	d.Must(t, http.StatusOK, http.MethodPost, "/letters/discard", map[string]any{
		"selection": map[string]any{"ids": []string{unreadable}}, "reason": "a test",
	})
	d.dead()
	balance(t, root)
}

// replay sends one letter and wants it to come to outcome.
func (d desk) replay(mode, id, outcome string) {
	d.Helper()
	type job struct {
		ID, State, Why string
		Counts         map[string]int
	}
	var j job
	answered(d.T, d.Must(d.T, http.StatusCreated, http.MethodPost, "/jobs", map[string]any{
		"mode": mode, "selection": map[string]any{"ids": []string{id}}, "reason": "a test",
	}), &j)
	suite.WaitFor(d.T, 30*time.Second, func() error {
		answered(d.T, d.Must(d.T, http.StatusOK, http.MethodGet, "/jobs/"+j.ID, nil), &j)
		if j.State != "done" {
			return fmt.Errorf("the job is %s %s", j.State, j.Why)
		}
		return nil
	})
	if j.Counts[outcome] != 1 {
		d.Fatalf("%s of letter %s came to %v, want %s", mode, id, j.Counts, outcome)
	}
}

// desk is an operator at dlq-replayer's door.
type desk struct {
	*testing.T
	suite.Client
}

// dead wants these causes, by group and kind, of one dead letter each.
func (d desk) dead(want ...string) {
	d.Helper()
	var in struct {
		Causes []struct {
			Group, Kind string
			Dead        int
		}
	}
	answered(d.T, d.Must(d.T, http.StatusOK, http.MethodGet, "/causes", nil), &in)
	got := map[string]int{}
	for _, c := range in.Causes {
		got[c.Group+" "+c.Kind] += c.Dead
	}
	for _, cause := range want {
		if got[cause] != 1 {
			d.Errorf("the causes are %v, want one letter of %s", got, cause)
		}
	}
	if len(got) != len(want) {
		d.Errorf("the causes are %v, want %v", got, want)
	}
}

func answered(t *testing.T, a suite.Answer, into any) {
	t.Helper()
	if err := json.Unmarshal(a.Body, into); err != nil {
		t.Fatalf("%v: %v", a, err)
	}
}

func balance(t *testing.T, root string) {
	t.Helper()
	stores, err := books.Find(root)
	if err != nil {
		t.Fatal(err)
	}
	report, err := books.Wait(t.Context(), stores, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Balanced() {
		t.Errorf("the books do not balance:\n%s", report)
	}
}
