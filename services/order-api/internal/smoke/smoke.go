// Package smoke sends one order through a running suite, by its public door, and follows it until every service has done
// its part. It is what one runs after an installation.
//
// It promises to leave nothing for sale behind: its item is its own, its order is refunded, and the item is retired.
package smoke

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// Config says which suite is tried, and as whom.
type Config struct {
	URL   string // of order-api's door
	Token string // of a caller who is both shop and operator
	Pause time.Duration
	Said  io.Writer // a line for each step that was done
}

// user is whom the order is for. One name for all runs: a customer's name is no label.
const user = "floodgate-smoke"

// Run goes through every step or returns what stopped it. It waits until ctx ends.
func Run(ctx context.Context, cfg Config) error {
	t := &try{client: client{base: cfg.URL, token: cfg.Token}, Config: cfg, sku: "smoke-" + uuid.NewString(), key: uuid.NewString()}
	err := t.walk(ctx)
	// What was listed is taken back, also when time is up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, t.leave(ctx))
}

// try is one order on its way.
type try struct {
	client
	Config

	sku, key, order string
	listed, undone  bool
}

// step is one thing that must become true. do is asked again until it returns nil, or an error that waiting cannot cure.
type step struct {
	name string
	look string // where to look when it does not come true
	do   func(context.Context) error
}

func (t *try) walk(ctx context.Context) error {
	for _, s := range []step{
		{"the door answers", "order-api's /readyz?verbose, and the way from here to it", t.knock},
		{"an item is listed and stocked", "inventory's log, and the way from order-api to it", t.stock},
		{"the item is for sale", "outbox_backlog of inventory and kafka_consumergroup_lag of order-api", t.forSale},
		{"an order is accepted", "order-api's log", t.place},
		{"the same order again is the same order", "order-api's log", t.again},
		{"inventory has booked it and it is paid", "kafka_consumergroup_lag of inventory and of order-api", t.reaches("paid")},
		{"logistics has made the parcel", "kafka_consumergroup_lag of logistics", t.parcel},
		{"the order is refunded", "order-api's log", t.refund},
	} {
		if err := t.until(ctx, s.do); err != nil {
			return fmt.Errorf("%s: not so: %w; look at %s", s.name, err, s.look)
		}
		_, _ = fmt.Fprintln(t.Said, "ok:", s.name)
	}
	return nil
}

// until asks do again and again. What the door refuses for good is not asked twice. When time is up, what was answered last
// is told, not that the question under way was cut off.
func (t *try) until(ctx context.Context, do func(context.Context) error) error {
	var last error
	for {
		err := do(ctx)
		if refused, ok := errors.AsType[*refusal](err); err == nil || ok && refused.final() {
			return err
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("time is up: %w", last)
		case <-time.After(t.Pause):
		}
	}
}

func (t *try) knock(ctx context.Context) error {
	return t.call(ctx, http.MethodGet, "/items?limit=1", nil, nil)
}

func (t *try) stock(ctx context.Context) error {
	err := t.call(ctx, http.MethodPut, "/items/"+t.sku, map[string]any{"name": "Smoke test", "unitPriceCents": 1, "currency": "EUR"}, nil)
	if err != nil {
		return err
	}
	t.listed = true
	return t.call(ctx, http.MethodPost, "/items/"+t.sku+"/stock", map[string]any{"units": 1, "reason": "smoke test", "requestId": t.key}, nil)
}

func (t *try) forSale(ctx context.Context) error {
	var item struct {
		Available int64 `json:"available"`
	}
	if err := t.call(ctx, http.MethodGet, "/items/"+t.sku, nil, &item); err != nil {
		return later(err)
	}
	if item.Available < 1 {
		return fmt.Errorf("%d units of %s are available", item.Available, t.sku)
	}
	return nil
}

func (t *try) place(ctx context.Context) error {
	id, err := t.post(ctx)
	if err != nil {
		return later(err) // another replica may not have heard of the item yet
	}
	t.order = id
	return nil
}

func (t *try) again(ctx context.Context) error {
	id, err := t.post(ctx)
	if err == nil && id != t.order {
		err = &refusal{status: http.StatusCreated, body: fmt.Sprintf("one key made two orders, %s and %s", t.order, id)}
	}
	return err
}

func (t *try) post(ctx context.Context) (id string, err error) {
	var made struct {
		ID string `json:"id"`
	}
	err = t.call(ctx, http.MethodPost, "/orders", map[string]any{
		"skuId": t.sku, "quantity": 1, "userId": user, "payment": "captured", "reference": "smoke test",
	}, &made, "Idempotency-Key", t.key)
	return made.ID, err
}

func (t *try) reaches(status string) func(context.Context) error {
	return func(ctx context.Context) error {
		var now struct {
			Status string `json:"status"`
		}
		if err := t.call(ctx, http.MethodGet, "/orders/"+t.order, nil, &now); err != nil {
			return err
		}
		if now.Status != status {
			return fmt.Errorf("order %s is %s", t.order, now.Status)
		}
		return nil
	}
}

func (t *try) parcel(ctx context.Context) error {
	return later(t.call(ctx, http.MethodGet, "/orders/"+t.order+"/shipment", nil, nil))
}

func (t *try) refund(ctx context.Context) error {
	err := t.call(ctx, http.MethodPost, "/orders/"+t.order+"/refund", because, nil)
	t.undone = err == nil
	return err
}

var because = map[string]any{"reason": "smoke test"}

// leave takes back what the try did, as far as it came. Its unit goes with the item: what is retired is not sold.
func (t *try) leave(ctx context.Context) error {
	var errs []error
	if t.order != "" && !t.undone {
		// Nobody shall send a parcel for an order that went wrong. Before it is paid an order is cancelled, not refunded.
		err := t.call(ctx, http.MethodPost, "/orders/"+t.order+"/cancel", because, nil)
		if err != nil {
			err = t.refund(ctx)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("end order %s: %w; cancel or refund it by hand", t.order, err))
		}
	}
	if t.listed {
		err := t.until(ctx, func(ctx context.Context) error { return t.call(ctx, http.MethodDelete, "/items/"+t.sku, nil, nil) })
		if err != nil {
			errs = append(errs, fmt.Errorf("retire %s: %w; do it by hand", t.sku, err))
		}
	}
	return errors.Join(errs...)
}
