package faults_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/proto/event"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	stockv1 "github.com/floodgate-dev/floodgate/proto/floodgate/stock/v1"
	"github.com/floodgate-dev/floodgate/test/suite"
)

func header(key, value string) kafka.Header { return kafka.Header{Key: key, Value: []byte(value)} }

// moved says that an order of the user went to a status.
func moved(t *testing.T, id, user string, to orderv1.OrderStatus) kafka.Message {
	t.Helper()
	m := &orderv1.OrderStatusChanged{
		OrderId: id, From: orderv1.OrderStatus_ORDER_STATUS_CREATED, To: to,
		Order: &orderv1.Order{
			Id: id, UserId: user, Status: to, TotalCents: 100, Currency: "EUR",
			Items: []*orderv1.OrderItem{{SkuId: "tea", Quantity: 1, UnitPriceCents: 100}},
		},
	}
	return message(t, id, to.String(), m)
}

func message(t *testing.T, id, what string, m proto.Message) kafka.Message {
	t.Helper()
	value, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return kafka.Message{Key: []byte(id), Value: value, Headers: []kafka.Header{
		header("ce_id", what+"/"+id), header("ce_type", event.Type(m)), header("ce_source", "test"), header("content-type", "application/protobuf"),
	}}
}

// dead is m as a group gave it up.
func dead(m kafka.Message, group, topic string, offset int) kafka.Message {
	now := fmt.Sprint(time.Now().UnixMilli())
	m.Headers = append(slices.Clone(m.Headers),
		header("dlq-group", group), header("dlq-topic", topic), header("dlq-partition", "0"), header("dlq-offset", fmt.Sprint(offset)),
		header("dlq-attempts", "3"), header("dlq-first-failed-at", now), header("dlq-last-failed-at", now),
		header("dlq-error-kind", "failed"), header("dlq-error", "the night was dark"))
	return m
}

// contents is a hash over every row of a service's own tables: not of the outbox, nor of where the group stands.
func contents(t *testing.T, db *sql.DB) string {
	t.Helper()
	var tables string
	if err := db.QueryRowContext(t.Context(), `SELECT coalesce(string_agg(table_name, ',' ORDER BY table_name), '') FROM information_schema.tables
		WHERE table_schema = current_schema() AND table_name NOT LIKE 'outbox%' AND table_name NOT LIKE 'consumer_%'
		AND table_name NOT LIKE '%goose%' AND table_name NOT LIKE '%version%'`).Scan(&tables); err != nil || tables == "" {
		t.Fatalf("tables %q: %v", tables, err)
	}
	sum := sha256.New()
	for name := range strings.SplitSeq(tables, ",") {
		var all string
		if err := db.QueryRowContext(t.Context(), `SELECT coalesce(string_agg(r::text, E'\n' ORDER BY r::text), '') FROM `+name+` r`).Scan(&all); err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(sum, "%s\n%s\n", name, all)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// everything is the contents of every service but the replayer.
func everything(t *testing.T, s *suite.Suite) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range []string{"order-api", "inventory", "points", "logistics"} {
		all[name] = contents(t, s.Database(t, name))
	}
	return all
}

// passed waits until a service has applied n records.
func passed(t *testing.T, s *suite.Suite, service string, n int) {
	t.Helper()
	suite.WaitFor(t, patience, func() error {
		var applied int
		err := s.Database(t, service).QueryRowContext(t.Context(), `SELECT coalesce(sum(applied), 0) FROM consumer_offsets`).Scan(&applied)
		if err == nil && applied < n {
			err = fmt.Errorf("%s has applied %d records, want %d", service, applied, n)
		}
		return err
	})
}

// outcomes are what became of each letter of a job.
func (r replayer) outcomes(id string) map[string]string {
	r.Helper()
	var page struct {
		Letters []struct{ Letter, Outcome string }
	}
	r.read("/jobs/"+id+"/letters?limit=500", &page)
	all := map[string]string{}
	for _, l := range page.Letters {
		all[l.Letter] = l.Outcome
	}
	return all
}

// TestARehearsalTellsWhatARunDoes rehearses letters that would be applied, were applied, and would fail, and then runs
// them: the same answer for each, and not a row of the service differs after the rehearsal.
func TestARehearsalTellsWhatARunDoes(t *testing.T) {
	t.Parallel()
	s := suite.Start(t, suite.Config{})
	s.Part("order-api", 0).Stop() // it knows none of these orders
	r := replays(t, s)
	const each = 20
	var letters, before []kafka.Message
	for i := range each {
		fresh, known, odd := uuid.NewString(), uuid.NewString(), uuid.NewString()
		before = append(before, moved(t, known, "dan", orderv1.OrderStatus_ORDER_STATUS_PAID))
		letters = append(letters,
			dead(moved(t, fresh, "dan", orderv1.OrderStatus_ORDER_STATUS_PAID), event.Points, event.OrderStatusChanges, 3*i),
			dead(moved(t, known, "dan", orderv1.OrderStatus_ORDER_STATUS_PAID), event.Points, event.OrderStatusChanges, 3*i+1),
			dead(moved(t, odd, "", orderv1.OrderStatus_ORDER_STATUS_PAID), event.Points, event.OrderStatusChanges, 3*i+2)) // nobody's
	}
	s.Publish(event.OrderStatusChanges, before...)
	suite.WaitFor(t, patience, func() error {
		if n, _ := rewarded(t, s, "dan"); n != each {
			return fmt.Errorf("%d orders gave points", n)
		}
		return nil
	})
	s.Publish("dlq-orders-v1", letters...)
	r.dead(event.Points, 3*each)

	for _, name := range []string{"inventory", "points", "logistics"} {
		passed(t, s, name, each) // they have heard of what is known, and have nothing to do any more
	}
	rows := everything(t, s)
	rehearsal := r.await(r.start("rehearse", event.Points, 500).ID, func(j job) bool { return !j.open() })
	for name, now := range everything(t, s) {
		if now != rows[name] {
			t.Errorf("the rehearsal changed a row of %s", name)
		}
	}
	if c := rehearsal.Counts; c["applied"] != each || c["already-applied"] != each || c["failed-again"] != each {
		t.Errorf("the rehearsal came to %v", c)
	}
	run := r.start("run", event.Points, 500)
	r.await(run.ID, func(j job) bool {
		if j.State == "paused" { // a third of them fails
			r.Must(t, http.StatusOK, http.MethodPost, "/jobs/"+run.ID+"/resume", nil)
		}
		return !j.open()
	})
	told, done := r.outcomes(rehearsal.ID), r.outcomes(run.ID)
	for id, outcome := range told {
		if done[id] != outcome {
			t.Errorf("letter %s: rehearsed %s, run %s", id, outcome, done[id])
		}
	}
	if n, _ := rewarded(t, s, "dan"); len(told) != 3*each || n != 2*each {
		t.Errorf("%d letters were rehearsed, %d orders gave points", len(told), n)
	}
}

// TestAReplayWeeksLateUndoesNothing replays what was paid before it was refunded, and what was ordered before it was
// cancelled: the points stay taken back, and no unit is booked.
func TestAReplayWeeksLateUndoesNothing(t *testing.T) {
	t.Parallel()
	s := suite.Start(t, suite.Config{})
	s.Sell("tea", 10)
	s.Part("order-api", 0).Stop()
	r := replays(t, s)
	refunded, cancelled := uuid.NewString(), uuid.NewString()
	s.Publish(event.OrderStatusChanges,
		moved(t, refunded, "eve", orderv1.OrderStatus_ORDER_STATUS_REFUNDED), moved(t, cancelled, "eve", orderv1.OrderStatus_ORDER_STATUS_CANCELLED))
	created := &orderv1.OrderCreated{Order: &orderv1.Order{
		Id: cancelled, UserId: "eve", Status: orderv1.OrderStatus_ORDER_STATUS_CREATED, Payment: orderv1.PaymentMode_PAYMENT_MODE_DEFERRED,
		Items: []*orderv1.OrderItem{{SkuId: "tea", Quantity: 1, UnitPriceCents: 100}}, TotalCents: 100, Currency: "EUR", Version: 1,
	}}
	s.Publish("dlq-orders-v1",
		dead(moved(t, refunded, "eve", orderv1.OrderStatus_ORDER_STATUS_PAID), event.Points, event.OrderStatusChanges, 1),
		dead(message(t, cancelled, "created", created), event.Inventory, event.OrderCreated, 2))
	suite.WaitFor(t, patience, func() error { // that both were heard of is known before their letters are replayed
		var n int
		if err := s.Database(t, "inventory").QueryRowContext(t.Context(), `SELECT count(*) FROM bookings WHERE order_id = $1 AND state = 'released'`, cancelled).Scan(&n); err != nil || n != 1 {
			return fmt.Errorf("inventory has not heard of the cancellation: %d, %w", n, err)
		}
		return nil
	})
	passed(t, s, "points", 2)
	for _, group := range []string{event.Points, event.Inventory} {
		r.dead(group, 1)
		j := r.await(r.start("run", group, 50).ID, func(j job) bool { return !j.open() })
		if j.State != "done" || j.Counts["applied"]+j.Counts["already-applied"] != 1 {
			t.Errorf("%s: %s with %v", group, j.State, j.Counts)
		}
	}
	var points, booked int
	if err := s.Database(t, "points").QueryRowContext(t.Context(), `SELECT coalesce(sum(points), 0) FROM ledger WHERE user_id = 'eve'`).Scan(&points); err != nil {
		t.Fatal(err)
	}
	if err := s.Database(t, "inventory").QueryRowContext(t.Context(), `SELECT booked FROM stock WHERE sku = 'tea'`).Scan(&booked); err != nil {
		t.Fatal(err)
	}
	if points != 0 || booked != 0 {
		t.Errorf("eve has %d points and %d tea are booked, want none", points, booked)
	}
}

// TestACancelledOrderStaysCancelled replays to order-api that a unit was booked, when the order was cancelled since.
func TestACancelledOrderStaysCancelled(t *testing.T) {
	t.Parallel()
	s := suite.Start(t, suite.Config{})
	s.Sell("tea", 10)
	r, customer := replays(t, s), s.As(0, "eve")
	id := customer.Must(t, http.StatusCreated, http.MethodPost, "/orders", map[string]any{"skuId": "tea", "quantity": 2, "payment": "deferred"}).Order(t).ID
	status := func() string {
		return customer.Must(t, http.StatusOK, http.MethodGet, "/orders/"+id, nil).Order(t).Status
	}
	suite.WaitFor(t, patience, func() error {
		if now := status(); now != "confirmed" {
			return fmt.Errorf("the order is %s", now)
		}
		return nil
	})
	customer.Must(t, http.StatusOK, http.MethodPost, "/orders/"+id+"/cancel", map[string]string{"reason": "too late"})
	s.Balance() // all have heard of it

	var letters []kafka.Message
	for i, m := range s.Records(event.StockChanges) {
		if string(m.Key) == id && headers(m)["ce_type"] == event.Type(&stockv1.StockBooked{}) {
			letters = append(letters, dead(kafka.Message{Key: m.Key, Value: m.Value, Headers: m.Headers}, event.OrderAPI, event.StockChanges, i))
		}
	}
	if len(letters) != 1 {
		t.Fatalf("the order was booked %d times", len(letters))
	}
	s.Publish("dlq-orders-v1", letters...)
	r.dead(event.OrderAPI, 1)
	j := r.await(r.start("run", event.OrderAPI, 50).ID, func(j job) bool { return !j.open() })
	if j.State != "done" || j.Counts["applied"]+j.Counts["already-applied"] != 1 {
		t.Errorf("the replay is %s with %v", j.State, j.Counts)
	}
	if now, left := status(), available(t, s, "tea"); now != "cancelled" || left != 10 {
		t.Errorf("the order is %s and %d tea are left, want cancelled and 10", now, left)
	}
}

// TestEveryOddLetterIsAnswered rehearses letters of every group and of every shape: as large as topics allow, with 300
// headers, with an empty key, with a null value, of an unknown type, with bytes that are no event. None of them stalls a group.
func TestEveryOddLetterIsAnswered(t *testing.T) {
	t.Parallel()
	s := suite.Start(t, suite.Config{})
	r := replays(t, s)
	shapes := map[string]func(m *kafka.Message){
		"plain":      func(*kafka.Message) {},
		"large":      func(m *kafka.Message) { m.Value = []byte(strings.Repeat("\xff\x00", 500_000)) },
		"empty key":  func(m *kafka.Message) { m.Key = []byte{} },
		"null value": func(m *kafka.Message) { m.Value = nil },
		"no event":   func(m *kafka.Message) { m.Value = []byte("\xff\xff\x00") },
		"no headers": func(m *kafka.Message) { m.Headers = nil },
		"unknown type": func(m *kafka.Message) {
			m.Headers[1] = header("ce_type", "some.other.Type")
		},
		"300 headers": func(m *kafka.Message) {
			for i := range 300 {
				m.Headers = append(m.Headers, header(fmt.Sprint("x-", i), "\x00\xff"))
			}
		},
	}
	groups := event.Groups()
	offset := 0
	for _, group := range groups {
		for name, shape := range shapes {
			offset++
			m := moved(t, uuid.NewString(), "fay", orderv1.OrderStatus_ORDER_STATUS_CONFIRMED)
			m.Headers[0] = header("ce_id", group+"/"+name)
			shape(&m)
			topic := "dlq-orders-v1"
			if offset%2 == 0 {
				topic = "dlq-raw-errors"
			}
			s.Publish(topic, dead(m, group, event.OrderStatusChanges, offset))
		}
	}
	for _, group := range groups {
		r.dead(group, len(shapes))
		j := r.await(r.start("rehearse", group, 500).ID, func(j job) bool { return !j.open() })
		if answered := j.Counts["applied"] + j.Counts["already-applied"] + j.Counts["failed-again"]; answered != len(shapes) {
			t.Errorf("%s answers for %d of %d letters: %v", group, answered, len(shapes), j.Counts)
		}
	}
}
