package faults_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/proto/event"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	"github.com/floodgate-dev/floodgate/test/suite"
)

// TestPoisonDoesNotBlockTheOthers puts one record that nobody can read and one that always fails among real orders.
func TestPoisonDoesNotBlockTheOthers(t *testing.T) {
	t.Parallel()
	s := suite.Start(t, suite.Config{})
	s.Sell("tea", endless)
	l := s.Load(8, "tea")
	l.Await(before, 30*time.Second)
	garbage, ghost := unreadable(), orderOfNothing(t)
	s.Publish(event.OrderCreated, garbage, ghost)
	l.Await(after, 30*time.Second)
	l.Stop()

	raw := s.AwaitRecords("dlq-raw-errors", 1)
	if !bytes.Equal(raw[0].Value, garbage.Value) || !bytes.Equal(raw[0].Key, garbage.Key) {
		t.Errorf("dlq-raw-errors holds %q → %q, want %q → %q", raw[0].Key, raw[0].Value, garbage.Key, garbage.Value)
	}
	dead := s.AwaitRecords("dlq-orders-v1", 1)
	if !bytes.Equal(dead[0].Value, ghost.Value) || !bytes.Equal(dead[0].Key, ghost.Key) {
		t.Errorf("dlq-orders-v1 holds %q → %q, want %q → %q", dead[0].Key, dead[0].Value, ghost.Key, ghost.Value)
	}
	if len(raw) != 1 || len(dead) != 1 {
		t.Errorf("%d raw and %d dead letters, want one each", len(raw), len(dead))
	}
	t.Logf("a dead letter's headers: %v", headers(dead[0]))
	for _, name := range []string{"__dlq.errors.topic", "__dlq.errors.partition", "__dlq.errors.offset", "__dlq.errors.group"} {
		if headers(dead[0])[name] == "" {
			t.Errorf("the dead letter has no header %s", name)
		}
	}
	s.Kept(l.Orders())
	s.Balance()
}

// unreadable is a record whose bytes are no protobuf.
func unreadable() kafka.Message {
	return kafka.Message{Key: []byte{0, 0xff, 'k'}, Value: []byte{0xff, 0xff, 0, 1, 2}, Headers: []kafka.Header{
		{Key: "ce_id", Value: []byte("garbage/1")},
		{Key: "ce_type", Value: []byte(event.Type(&orderv1.OrderCreated{}))},
		{Key: "ce_source", Value: []byte("test")},
	}}
}

// orderOfNothing is an accepted order for an item that was never listed: it can be read, and never be booked.
func orderOfNothing(t *testing.T) kafka.Message {
	t.Helper()
	id := uuid.Must(uuid.NewV7()).String()
	created := &orderv1.OrderCreated{Order: &orderv1.Order{
		Id: id, UserId: "ghost", Status: orderv1.OrderStatus_ORDER_STATUS_CREATED, Payment: orderv1.PaymentMode_PAYMENT_MODE_CAPTURED,
		Items:      []*orderv1.OrderItem{{SkuId: "never-listed", Quantity: 1, UnitPriceCents: 100}},
		TotalCents: 100, Currency: "EUR", Version: 1, CreatedAtUnixMs: time.Now().UnixMilli(), UpdatedAtUnixMs: time.Now().UnixMilli(),
	}}
	value, err := proto.Marshal(created)
	if err != nil {
		t.Fatal(err)
	}
	return kafka.Message{Key: []byte(id), Value: value, Headers: []kafka.Header{
		{Key: "ce_id", Value: []byte("ghost/" + id)},
		{Key: "ce_type", Value: []byte(event.Type(created))},
		{Key: "ce_source", Value: []byte("test")},
		{Key: "content-type", Value: []byte("application/protobuf")},
	}}
}

func headers(m kafka.Message) map[string]string {
	all := map[string]string{}
	for _, h := range m.Headers {
		all[h.Key] = string(h.Value)
	}
	return all
}

// available is what order-api says is left of a sku.
func available(t *testing.T, s *suite.Suite, sku string) int {
	t.Helper()
	a := s.As(0, "stocker", "operator").Must(t, http.StatusOK, http.MethodGet, "/items/"+sku, nil)
	var item struct {
		Available *int `json:"available"`
	}
	if err := json.Unmarshal(a.Body, &item); err != nil || item.Available == nil {
		t.Fatal(fmt.Sprint("item ", sku, ": ", a))
	}
	return *item.Available
}
