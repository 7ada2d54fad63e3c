// Package browser_test goes through dlq-replayer's console as an operator does, in a real browser, and looks at every page
// for what keeps people from using it.
package browser_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/proto/event"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	"github.com/floodgate-dev/floodgate/test/poison"
	"github.com/floodgate-dev/floodgate/test/suite"
)

func TestMain(m *testing.M) { suite.Main(m) }

// reader is a browser at the console.
type reader struct {
	*testing.T
	ctx    context.Context
	base   string
	axe    string // axe-core's source
	images string // where pictures go
}

// open starts a browser. Whatever a page asks of another host, and whatever a page complains of, fails the test.
func open(t *testing.T, base string) reader {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	if path == "" {
		t.Fatal("no Chromium: make test installs it, or apt-get install chromium")
	}
	axe, err := os.ReadFile("../../.floodgate/axe/axe.min.js")
	if err != nil {
		t.Fatalf("axe-core is missing, make test fetches it: %v", err)
	}
	images, err := filepath.Abs("../../.floodgate/screenshots")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(images, 0o750); err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1200, 900))
	allocator, end := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(end)
	ctx, closed := chromedp.NewContext(allocator)
	t.Cleanup(closed)
	if err := chromedp.Listen(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *network.EventRequestWillBeSent:
			if !strings.HasPrefix(ev.Request.URL, base) && !strings.HasPrefix(ev.Request.URL, "about:") {
				t.Errorf("a page asks for %s", ev.Request.URL)
			}
		case *runtime.EventExceptionThrown:
			t.Errorf("a page's script fails: %v", ev.ExceptionDetails.Text)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	return reader{t, ctx, base, string(axe), images}
}

// step is how long one step may take.
const step = time.Minute

func (r reader) do(actions ...chromedp.Action[chromedp.Void]) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, step)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		r.Fatalf("%v; the page shows:\n%s", err, r.shown())
	}
}

// shown is the text of the page, as far as it can be read.
func (r reader) shown() string {
	text, err := chromedp.Run(r.ctx, chromedp.Evaluate[string]("document.body.innerText"))
	if err != nil {
		return err.Error()
	}
	return text
}

func (r reader) goTo(path string) { r.Helper(); r.do(chromedp.Navigate(r.base + path)) }

// holds waits until a JavaScript expression is true, through navigations.
func (r reader) holds(expression string) {
	r.Helper()
	suite.WaitFor(r.T, step, func() error {
		yes, err := chromedp.Run(r.ctx, chromedp.Evaluate[bool](expression))
		if err == nil && !yes {
			err = errors.New("it is false")
		}
		if err != nil {
			return fmt.Errorf("%s does not hold: %w; the page shows:\n%s", expression, err, r.shown())
		}
		return nil
	})
}

// sees waits until the page shows text.
func (r reader) sees(text string) {
	r.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		r.Fatal(err)
	}
	r.holds("document.body.innerText.includes(" + string(quoted) + ")")
}

// press clicks the link or button that has the text.
func (r reader) press(text string) {
	r.Helper()
	r.clicks(fmt.Sprintf(`[...document.querySelectorAll('a, button, summary')].find(e => e.textContent.trim() === %q)`, text))
}

// clicks clicks what a JavaScript expression finds. It is one step in the page: a live part may be replaced at any time.
func (r reader) clicks(found string) {
	r.Helper()
	r.holds(`(() => { const e = ` + found + `; if (e) e.click(); return !!e })()`)
}

// fills writes into the field by the keyboard. The browser's own handles of elements end when a page arrives late, so the field
// is looked up in the page, and what counts is what it holds afterwards.
func (r reader) fills(field, text string) {
	r.Helper()
	wanted, err := json.Marshal(text)
	if err != nil {
		r.Fatal(err)
	}
	found := fmt.Sprintf("document.querySelector(%q)", field)
	suite.WaitFor(r.T, step, func() error {
		ready, err := chromedp.Run(r.ctx, chromedp.Evaluate[bool](`(() => { const e = `+found+`; if (e) { e.value = ""; e.focus() }; return !!e && document.activeElement === e })()`))
		if err != nil || !ready {
			return fmt.Errorf("%s cannot be written into (%w); the page shows:\n%s", field, err, r.shown())
		}
		if err := chromedp.Do(r.ctx, chromedp.KeyEvent(text)); err != nil {
			return fmt.Errorf("write into %s: %w", field, err)
		}
		holds, err := chromedp.Run(r.ctx, chromedp.Evaluate[bool](found+"?.value === "+string(wanted)))
		if err != nil || !holds {
			return fmt.Errorf("%s does not hold what was written (%w); the page shows:\n%s", field, err, r.shown())
		}
		return nil
	})
}

// brings chooses a file in the field.
func (r reader) brings(field, file string) {
	r.Helper()
	suite.WaitFor(r.T, step, func() error {
		ctx, cancel := context.WithTimeout(r.ctx, step/4)
		defer cancel()
		return chromedp.Do(ctx, chromedp.SetUploadFiles(chromedp.CSS(field), []string{file}))
	})
}

// sends writes into the field and sends its form.
func (r reader) sends(field, text string) {
	r.Helper()
	r.fills(field, text)
	r.do(chromedp.KeyEvent("\r"))
}

// looks lets the browser look at pages in a scheme of colours, at a width.
func (r reader) looks(scheme string, width int64) {
	r.Helper()
	if _, err := chromedp.Call(r.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}}); err != nil {
		r.Fatal(err)
	}
	r.do(chromedp.EmulateViewport(width, 900))
}

// complaint is a rule of axe-core that a page breaks.
type complaint struct {
	ID, Impact, Help string
	Nodes            []string
}

const audit = `axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(
	v => ({ID: v.id, Impact: v.impact, Help: v.help, Nodes: v.nodes.map(n => n.html)})))`

// picture looks at a page in light, in dark and at a phone's width: axe-core must find nothing serious, nothing may hang out
// of the window, and each is kept.
func (r reader) picture(name string) {
	r.Helper()
	for _, look := range []struct {
		name, scheme string
		width        int64
	}{{"", "light", 1200}, {"-dark", "dark", 1200}, {"-phone", "light", 390}} {
		r.looks(look.scheme, look.width)
		r.do(chromedp.Evaluate[chromedp.Void](r.axe))
		found, err := chromedp.Run(r.ctx, chromedp.Evaluate[[]complaint](audit, chromedp.EvalAwaitPromise))
		if err != nil {
			r.Fatal(err)
		}
		for _, one := range found {
			if one.Impact == "serious" || one.Impact == "critical" {
				r.Errorf("%s%s: %s: %s at %s", name, look.name, one.ID, one.Help, one.Nodes[0])
			}
		}
		r.holds(`document.documentElement.scrollWidth <= document.documentElement.clientWidth`)
		shot, err := chromedp.Run(r.ctx, chromedp.FullScreenshot(100))
		if err != nil {
			r.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.images, name+look.name+".png"), shot, 0o600); err != nil {
			r.Fatal(err)
		}
	}
	r.looks("light", 1200)
}

// giveUp writes letters of the group points as its consumer would: orders that somebody paid, and one that is no event.
func giveUp(t *testing.T, s *suite.Suite) {
	t.Helper()
	h := func(key, value string) kafka.Header { return kafka.Header{Key: key, Value: []byte(value)} }
	now := fmt.Sprint(time.Now().UnixMilli())
	common := []kafka.Header{
		h("ce_source", "order-api"), h("dlq-group", event.Points), h("dlq-topic", event.OrderStatusChanges), h("dlq-partition", "1"), h("dlq-attempts", "3"),
		h("dlq-first-failed-at", now), h("dlq-last-failed-at", now), h("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
	}
	var letters []kafka.Message
	for i := range 60 {
		id := uuid.Must(uuid.NewV7()).String()
		paid := &orderv1.OrderStatusChanged{
			OrderId: id, From: orderv1.OrderStatus_ORDER_STATUS_CREATED, To: orderv1.OrderStatus_ORDER_STATUS_PAID,
			Order: &orderv1.Order{Id: id, UserId: fmt.Sprint("u-", i), Status: orderv1.OrderStatus_ORDER_STATUS_PAID, TotalCents: 1290, Currency: "EUR"},
		}
		value, err := proto.Marshal(paid)
		if err != nil {
			t.Fatal(err)
		}
		text := []string{"the ledger is closed for the night", `<img src=x onerror="document.title='gone'"> is no user`}[i%2]
		letters = append(letters, kafka.Message{Key: []byte(id), Value: value, Headers: append([]kafka.Header{
			h("ce_id", "paid/"+id), h("ce_type", event.Type(paid)), h("dlq-offset", fmt.Sprint(i)), h("dlq-error-kind", "failed"),
			h("dlq-error", fmt.Sprintf("order %s: %s", id, text)),
		}, common...)})
	}
	s.Publish("dlq-orders-v1", letters...)
	s.Publish("dlq-raw-errors", kafka.Message{Key: []byte("k"), Value: []byte("\x00\x01no event\xff"), Headers: append([]kafka.Header{
		h("dlq-offset", "99"), h("dlq-error-kind", "undecodable"), h("dlq-error", "cannot parse invalid wire-format data"),
	}, common...)})
	s.Part("order-api", 0).Stop() // it knows none of these orders
}

// An operator's way through the console: sign in, find a cause, open a letter, rehearse, run, watch to the end, read the audit.
func TestAnOperatorsWay(t *testing.T) {
	t.Parallel()
	s := suite.Start(t, suite.Config{})
	giveUp(t, s)
	r := open(t, "http://"+s.Part("dlq-replayer", 0).Addr)

	r.goTo("/")
	r.sees("Token with the role viewer or operator")
	r.picture("login")
	r.sends("#token", "nonsense")
	r.sees("That token is not good here")
	r.sends("#token", suite.Token(t, "ann", "operator"))

	r.sees("What letters died of")
	r.sees("order <id>: the ledger is closed for the night")
	r.sees("cannot parse invalid wire-format data")
	r.picture("causes")
	r.press("order <id>: the ledger is closed for the night")
	r.sees("points")
	r.picture("letters")
	r.clicks(`document.querySelector("#live tbody a")`)
	r.sees("Died of")
	r.sees("0af7651916cd43dd8448eb211c80319c")
	r.picture("letter")
	r.press("all of this cause")
	r.sees("Replay what of this is dead")
	r.press("Replay what of this is dead")
	r.sees("A rehearsal first")
	r.fills("#reason", "the ledger is open again")
	r.picture("job-form")
	r.press("Rehearse")
	r.sees("Rehearsal")
	r.sees("would be applied\n30")
	r.picture("rehearsal")
	r.fills("#rate-run", "20")
	r.press("Run it")
	r.sees("Run ")
	r.holds("document.getElementById('act-pause') !== null")
	r.picture("job-running")
	r.holds("document.getElementById('act-cancel') === null")
	r.sees("done")
	r.sees("applied\n30")
	r.picture("job-done")
	r.press("Causes")
	r.sees("cannot parse invalid wire-format data")
	if shown := r.shown(); strings.Contains(shown, "closed for the night") {
		t.Errorf("the cause is still there: %s", shown)
	}
	// Two of the letters that are left are chosen by hand, and only those are replayed.
	r.goTo("/letters?state=dead&kind=failed")
	r.holds(`document.querySelectorAll("[name=id]").length === 30`)
	r.clicks(`document.getElementById("all")`)
	r.sees("(30)")
	r.clicks(`document.getElementById("all")`)
	r.clicks(`document.querySelectorAll("[name=id]")[3]`)
	r.clicks(`document.querySelectorAll("[name=id]")[7]`)
	r.sees("(2)")
	r.picture("letters-chosen")
	r.press("Rehearse or replay")
	r.sees("A rehearsal first")
	r.fills("#reason", "these two only")
	r.press("Rehearse")
	r.sees("would be applied\n2")
	r.press("Run it")
	r.holds("document.getElementById('act-cancel') === null")
	r.sees("applied\n2")
	r.goTo("/letters?state=dead&kind=failed")
	r.holds(`document.querySelectorAll("[name=id]").length === 28`)
	r.clicks(`document.querySelectorAll("[name=id]")[0]`)
	r.fills("#why", "nobody needs it")
	r.press("Discard")
	r.holds(`document.querySelectorAll("[name=id]").length === 27`)
	// What is left is mended by one patch, rehearsed, taken elsewhere, and brought back.
	r.press("Replay what of this is dead")
	r.sees("A rehearsal first")
	r.fills("#reason", "the user was wrong")
	r.press("Mend all of them first by a JSON Patch")
	r.fills("#patch", `[{"op":"replace","path":"/order/userId","value":"u-mended"}]`)
	r.picture("job-form-patch")
	r.press("Mend, then rehearse")
	r.sees("mended\n27")
	r.picture("patched")
	r.fills("#reason", "is the patch right?")
	r.press("Rehearse")
	r.sees("would be applied\n27")
	r.goTo("/letters?state=dead&kind=failed")
	r.press("Take letters elsewhere, or bring some")
	r.picture("letters-elsewhere")
	r.fills("#why-import", "brought back")
	r.brings("#file", exported(t, s, "failed"))
	r.press("Import")
	r.sees("letters\n27")
	r.sees("new deaths\n0")
	r.picture("imported")
	r.goTo("/letters?kind=undecodable")
	r.clicks(`document.querySelector("#live tbody a")`)
	r.sees("Its bytes")
	r.clicks(`document.querySelector("details summary")`)
	r.sees("..no event.")
	r.picture("raw-letter")
	r.press("Jobs")
	r.sees("the ledger is open again")
	r.picture("jobs")
	r.press("Audit")
	r.sees("every one as it was written")
	r.sees("the ledger is open again")
	r.picture("audit")
	r.holds(`document.title.startsWith("Audit")`) // a letter's text was not run as a script
	r.press("Sign out")
	r.sees("Token with the role viewer or operator")
}

// exported is a file with the dead letters of a kind of error.
func exported(t *testing.T, s *suite.Suite, kind string) string {
	t.Helper()
	operator := suite.Client{Base: "http://" + s.Part("dlq-replayer", 0).Addr, Token: suite.Token(t, "ann", "operator")}
	lines := operator.Must(t, http.StatusOK, http.MethodGet, "/letters/export?state=dead&kind="+kind, nil).Body
	path := filepath.Join(t.TempDir(), "letters.ndjson")
	if err := os.WriteFile(path, lines, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What happens is shown without a click, and stands still while the reader asks for that.
func TestThePageFollowsAndStandsStill(t *testing.T) {
	t.Parallel()
	s := suite.Start(t, suite.Config{})
	r := open(t, "http://"+s.Part("dlq-replayer", 0).Addr)
	r.goTo("/")
	r.sends("#token", suite.Token(t, "vic", "viewer"))
	r.sees("Nothing is dead")
	giveUp(t, s)
	r.sees("the ledger is closed for the night")
	r.press("Stand still")
	r.sees("Follow again")
	r.holds(`document.querySelectorAll('form[method=post]:not([action="/logout"])').length === 0`) // a viewer changes nothing
}

// TestTheDrill is docs/dead-letters.md in the console: what `make poison` sends is seen, a rehearsal says what would become of
// it, what it died of is mended, a run empties the cause, and the order's timeline shows the effect.
func TestTheDrill(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	e := suite.NewEmbedded(t, root)
	e.Env = append(e.Env, "DEMO=off")
	e.Start()
	e.WaitAddresses()
	report, err := poison.Put(t.Context(), root, []string{"FLOODGATE_AUTH_KEY=" + suite.Key})
	if err != nil {
		t.Fatal(err)
	}
	token := suite.Token(t, "ann", "operator")
	shop := suite.Client{Base: e.Base, Token: token}
	timeline := func() string {
		return string(shop.Must(t, http.StatusOK, http.MethodGet, "/orders/"+report.Accepted+"/timeline", nil).Body)
	}
	r := open(t, report.Replayer)
	r.goTo("/")
	r.sends("#token", token)
	r.holds(`document.querySelectorAll("#live tbody tr").length === 4`)
	r.picture("drill-causes")

	// The world is mended: the rehearsal sees it before anything runs.
	rehearsed := func(why, says string) {
		t.Helper()
		r.press("Rehearse or replay")
		r.sees("A rehearsal first")
		r.fills("#reason", why)
		r.press("Rehearse")
		r.sees(says)
	}
	ran := func() {
		t.Helper()
		r.press("Run it")
		r.sees("Run ")
		r.holds("document.getElementById('act-cancel') === null")
		r.sees("applied\n1")
	}
	unlisted, parcel := report.Letters[0].ID, report.Letters[3].ID
	r.goTo("/letters/" + unlisted)
	rehearsed("what would happen?", "would fail again\n1")
	shop.Must(t, http.StatusAccepted, http.MethodPut, "/items/"+report.SKU, json.RawMessage(report.Listing()))
	r.goTo("/letters/" + unlisted)
	rehearsed("is listing it enough?", "would be applied\n1")
	ran()
	r.goTo("/")
	r.holds(`document.querySelectorAll("#live tbody tr").length === 3`)

	// The letter is mended.
	if told := timeline(); strings.Contains(told, "Poison Parcels") {
		t.Errorf("the timeline tells of the parcel before its letter is applied: %s", told)
	}
	r.goTo("/letters/" + parcel)
	r.press("Mend its value")
	r.holds(fmt.Sprintf(`(() => { const v = document.getElementById("value"), j = JSON.parse(v.value);
		j.shipment.orderId = %q; v.value = JSON.stringify(j, null, 2); return true })()`, report.Accepted))
	r.fills("#why-edit", "the id lost a character")
	r.press("Keep, then rehearse it")
	r.sees("Mendings")
	rehearsed("is the edit right?", "would be applied\n1")
	ran()
	if told := timeline(); !strings.Contains(told, "Poison Parcels") {
		t.Errorf("the timeline does not tell of the parcel: %s", told)
	}
	r.goTo("/letters/" + parcel)
	r.sees("the id lost a character")
	r.picture("drill-mended")
}
