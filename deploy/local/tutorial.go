package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/auth"
)

// item is one line of the catalogue that the first start fills.
type item struct {
	sku   string
	name  string
	cents int64
	units int
}

// The vase is rare, so that selling out can be tried at once.
var catalogue = []item{
	{"tea", "Green tea, 100 g", 450, 1000},
	{"mug", "Mug, midnight blue", 1290, 200},
	{"vase", "Vase, one of three", 8900, 3},
}

const (
	tokenLife = 24 * time.Hour
	patience  = 30 * time.Second // for a part to be ready, for an order to live its life
)

// tutorial is what a person sees: everything in it goes through the public door.
type tutorial struct {
	cfg      Config
	state    *state
	suite    suite
	began    time.Time
	demo     client
	operator client // may fill the shop
}

func newTutorial(cfg Config, s *state, whole suite, began time.Time) (*tutorial, error) {
	demo, err := auth.Issue(whole.tokens, "demo", nil, tokenLife)
	if err != nil {
		return nil, fmt.Errorf("make a token for demo: %w", err)
	}
	operator, err := auth.Issue(whole.tokens, "make-run", []string{"operator"}, time.Hour)
	if err != nil {
		return nil, fmt.Errorf("make a token for the operator: %w", err)
	}
	base := whole.public() + "/api/v1"
	return &tutorial{cfg: cfg, state: s, suite: whole, began: began, demo: client{base, demo}, operator: client{base, operator}}, nil
}

func (t *tutorial) say(format string, args ...any) {
	_, _ = fmt.Fprintf(t.cfg.Out, format+"\n", args...) // a closed terminal is no reason to stop serving
}

// fill lists the catalogue and stocks it, once for the life of the state folder. Repeating it after a crash in the
// middle is harmless: each delivery has a name.
func (t *tutorial) fill(ctx context.Context) error {
	if _, err := os.Stat(t.state.path("filled")); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, i := range catalogue {
		listing := map[string]any{"name": i.name, "unitPriceCents": i.cents, "currency": "EUR"}
		if err := t.persist(ctx, http.MethodPut, "/items/"+i.sku, listing); err != nil {
			return fmt.Errorf("list %s: %w", i.sku, err)
		}
		delivery := map[string]any{"units": i.units, "reason": "opening stock", "requestId": "opening-" + i.sku}
		if err := t.persist(ctx, http.MethodPost, "/items/"+i.sku+"/stock", delivery); err != nil {
			return fmt.Errorf("stock %s: %w", i.sku, err)
		}
	}
	for _, i := range catalogue {
		if err := t.sellable(ctx, i.sku); err != nil {
			return err
		}
	}
	return os.WriteFile(t.state.path("filled"), nil, 0o600)
}

// persist repeats a request that is harmless to repeat while a part of the suite is still waking up.
func (t *tutorial) persist(ctx context.Context, method, path string, in any) error {
	return await(ctx, func() error { return t.operator.call(ctx, method, path, in, nil) })
}

// sellable waits until order-api has heard of the units.
func (t *tutorial) sellable(ctx context.Context, sku string) error {
	return await(ctx, func() error {
		var seen struct {
			Available int64 `json:"available"`
		}
		if err := t.operator.call(ctx, http.MethodGet, "/items/"+sku, nil, &seen); err != nil {
			return err
		}
		if seen.Available <= 0 {
			return fmt.Errorf("%s has no units for sale yet", sku)
		}
		return nil
	})
}

// await tries until try succeeds or patience ends; then it says what try said last.
func await(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// doors says where everything is.
func (t *tutorial) doors() {
	t.say("Floodgate is up after %.1f s. Its state lives in %s; Ctrl-C stops it, and nothing is forgotten.\n", time.Since(t.began).Seconds(), t.state.dir)
	for _, m := range t.suite.members {
		t.say("  %-10s %-24s health http://%s/readyz?verbose", m.name, m.scheme+m.listens.Addr(), m.listens.OpsAddr())
	}
	t.say("  %-10s %s/openapi.yaml", "the API", t.suite.public())
	t.say("  %-10s http://%s/", "the sale", t.suite.orderAPI().listens.OpsAddr())
	t.say("  %-10s %s", "the log", t.state.path("log"))
}

// teas is a command that orders two.
func (t *tutorial) teas() string {
	return curl(t.demo.token, "-X POST "+t.demo.base+"/orders", `{"skuId":"tea","quantity":2}`)
}

// live places one order as demo and shows its life until points and a parcel stand.
func (t *tutorial) live(ctx context.Context) error {
	t.say("\nOne tea for the user demo, from the order to the parcel:\n")
	var order struct {
		ID         string `json:"id"`
		TotalCents int64  `json:"totalCents"`
		Currency   string `json:"currency"`
	}
	asked := time.Now()
	err := t.demo.call(ctx, http.MethodPost, "/orders", map[string]any{"skuId": "tea", "quantity": 1}, &order)
	var no refused
	if errors.As(err, &no) {
		t.say("  refused: %s", no.body)
		return nil
	}
	if err != nil {
		return err
	}
	t.say("  POST /orders answered 201 in %d ms: order %s, %d cents %s", time.Since(asked).Milliseconds(), order.ID, order.TotalCents, order.Currency)
	if err := t.watch(ctx, order.ID); err != nil {
		return err
	}
	t.next(order.ID)
	return nil
}

// watch prints each step of the order's life as the stream tells it.
func (t *tutorial) watch(ctx context.Context, order string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("points and a shipment did not come in time"))
	defer cancel()
	var first time.Time
	heard := map[string]bool{}
	return t.demo.follow(ctx, order, func(e entry) bool {
		if first.IsZero() {
			first = e.At
		}
		t.say("  %5d ms  %-10s %-22s %s", e.At.Sub(first).Milliseconds(), e.Service, e.What, e.detail())
		heard[e.Service] = true
		return heard["points"] && heard["logistics"]
	})
}

// next shows what to try. The first command carries its token, so that it can be pasted anywhere.
func (t *tutorial) next(order string) {
	api := t.demo.base
	t.say("\nOrder two more yourself:\n\n  %s", t.teas())
	t.say("\nThen, with the token in a variable, for the rest of the day:\n\n  export TOKEN=%s\n", t.demo.token)
	for _, try := range []struct{ what, args, body string }{
		{"what happened to the order above", api + "/orders/" + order + "/timeline", ""},
		{"the points it earned", api + "/me/points", ""},
		{"its parcel", api + "/orders/" + order + "/shipment", ""},
		{"an order paid later: note its id", "-X POST " + api + "/orders", `{"skuId":"mug","quantity":1,"payment":"deferred"}`},
		{"… cancel it: its unit is for sale again", "-X POST " + api + "/orders/<id>/cancel", `{"reason":"changed my mind"}`},
		{"four of three vases: sold out, with what is left", "-X POST " + api + "/orders", `{"skuId":"vase","quantity":4}`},
		{"one intent sent twice is one order", "-X POST -H 'Idempotency-Key: one' " + api + "/orders", `{"skuId":"tea","quantity":1}`},
	} {
		t.say("  # %s\n  %s", try.what, curl("$TOKEN", try.args, try.body))
	}
	t.say("\n  make token USER=me ROLE=operator    # a token of your own\n  make books                          # every store, counted against the others")
}

// curl is a command that a shell takes as it stands. The token is in double quotes, so that a variable is one.
func curl(token, args, body string) string {
	parts := []string{"curl -s", args, `-H "Authorization: Bearer ` + token + `"`}
	if body != "" {
		parts = append(parts, "-H 'Content-Type: application/json' -d '"+body+"'")
	}
	return strings.Join(parts, " ")
}
