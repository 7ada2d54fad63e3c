package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/config"
)

// Client talks to one replica of order-api as one user.
type Client struct {
	Base  string // http://host:port
	Token string
}

// web never keeps a test waiting for a replica that was stopped.
var web = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{
	MaxIdleConnsPerHost: 256, IdleConnTimeout: 5 * time.Second,
	DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
}}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Order is an order as HTTP shows it.
type Order struct {
	ID         string `json:"id"`
	UserID     string `json:"userId"`
	Status     string `json:"status"`
	Items      []Line `json:"items"`
	TotalCents int64  `json:"totalCents"`
	Version    int64  `json:"version"`
}

// Line is one line of an order.
type Line struct {
	SkuID          string `json:"skuId"`
	Quantity       int    `json:"quantity"`
	UnitPriceCents int64  `json:"unitPriceCents"`
}

// Order reads the answer as an order.
func (a Answer) Order(tb testing.TB) Order {
	tb.Helper()
	var o Order
	if err := json.Unmarshal(a.Body, &o); err != nil || o.ID == "" {
		tb.Fatalf("%d %s is no order: %v", a.Status, a.Body, err)
	}
	return o
}

// Code is the problem's code, "" where the answer is none.
func (a Answer) Code() string {
	var problem struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(a.Body, &problem) // what is no problem has no code
	return problem.Code
}

func (a Answer) String() string { return fmt.Sprintf("%d %s", a.Status, a.Body) }

var tokens sync.Map // of users and roles: signing 2,000 tokens twice is wasted time

// Token is a token that order-api takes, for an hour.
func Token(tb testing.TB, subject string, roles ...string) string {
	tb.Helper()
	name := fmt.Sprint(subject, roles)
	if t, ok := tokens.Load(name); ok {
		return t.(string)
	}
	t, err := auth.Issue(auth.Config{Key: config.Secret(Key)}, subject, roles, time.Hour)
	if err != nil {
		tb.Fatal(err)
	}
	tokens.Store(name, t)
	return t
}

// As is a client of replica k for a user.
func (s *Suite) As(k int, subject string, roles ...string) Client {
	s.tb.Helper()
	return Client{Base: "http://" + s.Part("order-api", k).Addr, Token: Token(s.tb, subject, roles...)}
}

// Do sends in as JSON under /api/v1. Headers come in pairs.
func (c Client) Do(ctx context.Context, method, path string, in any, headers ...string) (Answer, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return Answer{}, err
		}
		body = bytes.NewReader(text)
	}
	ask, err := http.NewRequestWithContext(ctx, method, c.Base+"/api/v1"+path, body)
	if err != nil {
		return Answer{}, err
	}
	ask.Header.Set("Authorization", "Bearer "+c.Token)
	if in != nil {
		ask.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		ask.Header.Set(headers[i], headers[i+1])
	}
	answer, err := web.Do(ask)
	if err != nil {
		return Answer{}, err
	}
	text, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close() // it was read to its end, or its error is told
	return Answer{Status: answer.StatusCode, Header: answer.Header, Body: text}, err
}

// Must is Do for a call that has to end with the status want.
func (c Client) Must(tb testing.TB, want int, method, path string, in any, headers ...string) Answer {
	tb.Helper()
	a, err := c.Do(tb.Context(), method, path, in, headers...)
	if err != nil {
		tb.Fatalf("%s %s: %v", method, path, err)
	}
	if a.Status != want {
		tb.Fatalf("%s %s: %v, want %d", method, path, a, want)
	}
	return a
}

// Buy is the body of an order of one line.
func Buy(sku string, quantity int) map[string]any {
	return map[string]any{"skuId": sku, "quantity": quantity}
}

// Sell lists a sku at 450 cents, stocks it and waits until every replica sells it.
func (s *Suite) Sell(sku string, units int) {
	s.tb.Helper()
	operator := s.As(0, "stocker", "operator")
	operator.Must(s.tb, http.StatusAccepted, http.MethodPut, "/items/"+sku, map[string]any{"name": sku, "unitPriceCents": 450, "currency": "EUR"})
	operator.Must(s.tb, http.StatusAccepted, http.MethodPost, "/items/"+sku+"/stock", map[string]any{"units": units, "reason": "test", "requestId": "stock-" + sku})
	for k := range s.parts["order-api"] {
		WaitFor(s.tb, 20*time.Second, func() error { return s.sells(k, sku, units) })
	}
}

func (s *Suite) sells(k int, sku string, units int) error {
	a, err := s.As(k, "stocker", "operator").Do(s.tb.Context(), http.MethodGet, "/items/"+sku, nil)
	if err != nil {
		return err
	}
	var item struct {
		Available int `json:"available"`
	}
	if err := json.Unmarshal(a.Body, &item); err != nil || a.Status != http.StatusOK || item.Available != units {
		return fmt.Errorf("replica %d of order-api does not sell %d %s: %v", k, units, sku, a)
	}
	return nil
}
