// Package poison puts four records into a running suite that its services give up: one that listing an item mends, one
// that an edit mends, one that nobody can read, and one that an edit mends and whose effect an order's timeline shows.
//
// It promises that the books balance when the four are dead, and again when those that can be were mended and replayed.
package poison

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/test/books"
)

// price of the item that is not listed, in cents.
const price = 450

// limit is how long dlq-replayer may take to show what was sent: a record that may pass is tried three times first.
const limit = 15 * time.Second

// Letter is a record that was sent, as dlq-replayer shows it.
type Letter struct {
	ID        string `json:"id"`
	EventID   string `json:"eventId"`
	Group     string `json:"group"`
	Cause     string `json:"cause"`
	ErrorKind string `json:"errorKind"`
	Error     string `json:"error"`

	what string
}

// Put sends the records to the suite that runs on the state folder root and returns when dlq-replayer shows all of them
// under their causes. Its door is asked first: a suite whose letters nobody sees is not poisoned.
func Put(ctx context.Context, root string, environ []string) (Report, error) {
	suite, err := books.Find(root)
	if err != nil {
		return Report{}, err
	}
	door, err := open(root, suite, environ)
	if err != nil {
		return Report{}, err
	}
	if _, err := door.causes(ctx); err != nil {
		return Report{}, err
	}
	began := time.Now()
	r := Report{
		Order: uuid.Must(uuid.NewV7()).String(), SKU: fmt.Sprintf("%s-%d", source, began.Unix()),
		Shop: suite.HTTP, Replayer: door.base,
	}
	if r.Accepted, err = buy(ctx, suite.HTTP, door.token, r.SKU+"-sold"); err != nil {
		return Report{}, err
	}
	sent, err := records(r.Order, r.SKU, r.Accepted, began)
	if err != nil {
		return Report{}, err
	}
	if err := send(ctx, suite, sent); err != nil {
		return Report{}, err
	}
	r.Letters, err = door.await(ctx, sent)
	r.Took = time.Since(began)
	return r, err
}

func send(ctx context.Context, suite books.Stores, sent []record) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cfg := kafka.Defaults()
	cfg.Brokers, cfg.TopicPrefix = suite.Brokers, suite.Prefix
	writer := kafka.NewWriter(cfg)
	defer func() { _ = writer.Close() }() // what it sent is acknowledged
	messages := make([]outbox.Message, len(sent))
	for i, one := range sent {
		messages[i] = one.message
	}
	if err := writer.Send(ctx, messages); err != nil {
		return fmt.Errorf("the suite's Kafka at %s does not take records: %w", strings.Join(suite.Brokers, ","), err)
	}
	return nil
}

// door is dlq-replayer's.
type door struct{ base, token string }

// causes are how many letters are dead, by cause.
func (d door) causes(ctx context.Context) (map[string]int64, error) {
	var in struct {
		Causes []struct {
			ID   string `json:"id"`
			Dead int64  `json:"dead"`
		} `json:"causes"`
	}
	if err := d.read(ctx, "/causes", &in); err != nil {
		return nil, err
	}
	dead := map[string]int64{}
	for _, c := range in.Causes {
		dead[c.ID] = c.Dead
	}
	return dead, nil
}

// await waits until every record is a dead letter whose cause is shown, and returns the letters in the order of sent.
func (d door) await(ctx context.Context, sent []record) ([]Letter, error) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		letters, missing, err := d.look(ctx, sent)
		if err == nil && len(missing) == 0 {
			return letters, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
			continue
		case <-deadline.C:
		}
		if err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("within %v dlq-replayer does not show %s: do these groups run, and does dlq-replayer keep up?",
			limit, strings.Join(missing, ", nor "))
	}
}

// look finds the letters of sent. Missing is what is not dead, or under no cause yet, and whose it is.
func (d door) look(ctx context.Context, sent []record) (letters []Letter, missing []string, err error) {
	causes, err := d.causes(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, one := range sent {
		var page struct {
			Letters []Letter `json:"letters"`
		}
		filter := url.Values{"group": {one.group}, "topic": {one.message.Topic}, "state": {"dead"}, "limit": {"500"}} // the newest
		if err := d.read(ctx, "/letters?"+filter.Encode(), &page); err != nil {
			return nil, nil, err
		}
		at := slices.IndexFunc(page.Letters, func(l Letter) bool { return l.EventID == one.id && causes[l.Cause] > 0 })
		if at < 0 {
			missing = append(missing, fmt.Sprintf("%s, of group %s", one.what, one.group))
			continue
		}
		page.Letters[at].what = one.what
		letters = append(letters, page.Letters[at])
	}
	return letters, missing, nil
}

// buy lists an item of one unit, as an operator does, and buys it. The answer is the id of an order that was accepted.
func buy(ctx context.Context, shop, token, sku string) (string, error) {
	if shop == "" {
		shop = "http://127.0.0.1:8080"
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	item := fmt.Sprintf(`{"name":"Sold by poison","unitPriceCents":%d,"currency":"EUR"}`, price)
	if err := tell(ctx, http.MethodPut, shop+"/api/v1/items/"+sku, token, item, nil); err != nil {
		return "", err
	}
	stock := fmt.Sprintf(`{"units":1,"reason":"make poison","requestId":%q}`, sku)
	if err := tell(ctx, http.MethodPost, shop+"/api/v1/items/"+sku+"/stock", token, stock, nil); err != nil {
		return "", err
	}
	var order struct{ ID string }
	for { // the item and its unit are for sale within a second
		err := tell(ctx, http.MethodPost, shop+"/api/v1/orders", token, fmt.Sprintf(`{"skuId":%q,"quantity":1,"userId":%q,"payment":"captured"}`, sku, source), &order)
		if err == nil {
			return order.ID, nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("no order of %s was accepted within %v: %w", sku, limit, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// tell sends JSON and reads the answer into into, where it is not nil.
func tell(ctx context.Context, method, address, token, in string, into any) error {
	ask, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(in))
	if err != nil {
		return err
	}
	ask.Header.Set("Authorization", "Bearer "+token)
	ask.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return fmt.Errorf("order-api does not answer: %w", err)
	}
	defer func() { _ = answer.Body.Close() }() // it was read, or its error is told
	if answer.StatusCode >= http.StatusMultipleChoices {
		var problem struct{ Detail string }
		_ = json.NewDecoder(answer.Body).Decode(&problem) // what is no problem has no detail
		return fmt.Errorf("%s %s: order-api answers %s: %s", method, address, answer.Status, problem.Detail)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

func (d door) read(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, d.base+"/api/v1"+path, nil)
	if err != nil {
		return err
	}
	ask.Header.Set("Authorization", "Bearer "+d.token)
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return fmt.Errorf("dlq-replayer does not answer: %w", err)
	}
	defer func() { _ = answer.Body.Close() }() // it was read, or its error is told
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("dlq-replayer at %s answers %s: DLQ_REPLAYER_TOKEN, or the key of tokens, is not good for it", d.base, answer.Status)
	default:
		return fmt.Errorf("dlq-replayer at %s answers %s", d.base, answer.Status)
	}
	if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
		return fmt.Errorf("dlq-replayer's answer to %s: %w", path, err)
	}
	return nil
}
