package telemetry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/proto/event"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	pointsv1 "github.com/floodgate-dev/floodgate/proto/floodgate/points/v1"
	shipmentv1 "github.com/floodgate-dev/floodgate/proto/floodgate/shipment/v1"
	stockv1 "github.com/floodgate-dev/floodgate/proto/floodgate/stock/v1"
	"github.com/floodgate-dev/floodgate/test/suite"
)

const page = "../../docs/telemetry.md"

// metricRow is one line of the table of metrics: its name, and the rest up to what it means.
var metricRow = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (?:counter|gauge|histogram) \\|[^|]*\\|")

// TestThePageListsWhatARunningSuiteEmits lets a suite do all that it tells of, and compares what it told with
// docs/telemetry.md, both ways.
func TestThePageListsWhatARunningSuiteEmits(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	in := receive(t)
	s := suite.Start(t, suite.Config{Env: []string{
		"FLOODGATE_LOG_FORMAT=json", "FLOODGATE_OTLP_ENDPOINT=" + in.grpc, "FLOODGATE_TRACE_SAMPLE_RATIO=1", "OTEL_BSP_SCHEDULE_DELAY=200",
	}})
	quiet(t, s)
	named := live(t, s)
	listed := rowsOf(string(text), spanRow, func(found []string) string { return found[1] + " " + found[2] })
	spoil(t, s, in, listed)
	bounded(t, s, append(named, "spoilt"))
	emitted := map[string]string{}
	for name, m := range scraped(t, s) {
		if !library(name) {
			emitted[name] = m.row(name)
		}
	}
	for _, part := range s.All() {
		part.Terminate() // so that the last spans and lines are told too
	}
	compare(t, rowsOf(string(text), metricRow, first), emitted)
	compare(t, listed, spanRows(t, in))
	events, given := eventsInSource(t)
	compare(t, rowsOf(string(text), eventRow, first), eventRows(events))
	given.logged(t, s, events)
	for field := range given {
		if !strings.Contains(string(text), "`"+field+"`") {
			t.Errorf("the page does not say what the field %s is", field)
		}
	}
}

// increases is a counter whose increase an alert looks at.
var increases = regexp.MustCompile(`(?:increase|rate)\((\w+)`)

// quiet checks, before anything goes wrong, that every counter is there whose increase an alert looks at: one that comes with its
// first event is 1 from its first moment, and never increased. Requests and settled records come by themselves; the alert of dead
// letters looks for those that are new.
func quiet(t *testing.T, s *suite.Suite) {
	t.Helper()
	rules, err := filepath.Glob("../../deploy/prometheus/rules/*.yaml")
	if err != nil || len(rules) < 10 {
		t.Fatalf("%d rules: %v", len(rules), err)
	}
	told := scraped(t, s)
	for _, path := range rules {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range increases.FindAllStringSubmatch(string(text), -1) {
			switch name := found[1]; {
			case strings.HasPrefix(name, "http_server_"), name == "floodgate_consumer_records_total", name == "floodgate_consumer_dead_letters_total":
			case told[name] == nil:
				t.Errorf("%s looks at the increase of %s, which is not told before its first event", filepath.Base(path), name)
			}
		}
	}
}

// spoil puts records that nobody can read into each topic, of a trace that is recorded, sends back to each group what it buried, and
// waits until every span of the page was told.
func spoil(t *testing.T, s *suite.Suite, in *receiver, listed map[string]string) {
	t.Helper()
	for topic, m := range map[string]proto.Message{
		event.OrderCreated: &orderv1.OrderCreated{}, event.OrderStatusChanges: &orderv1.OrderStatusChanged{}, event.StockChanges: &stockv1.StockBooked{},
		event.PointsChanges: &pointsv1.PointsAwarded{}, event.ShipmentChanges: &shipmentv1.ShipmentCreated{},
	} {
		for _, of := range []string{event.Type(m), "floodgate.nobody.v1.Knows"} {
			s.Publish(topic, kafka.Message{Key: []byte("spoilt"), Value: []byte("\xffnobody reads this"), Headers: []kafka.Header{
				{Key: "ce_id", Value: []byte("spoilt/" + of)},
				{Key: "ce_type", Value: []byte(of)},
				{Key: "traceparent", Value: []byte("00-" + traceID + "-" + callerID + "-01")},
			}})
		}
	}
	for _, group := range []string{event.Inventory, event.Points, event.Logistics} {
		sendBack(t, s, group)
	}
	suite.WaitFor(t, 60*time.Second, func() error {
		told, missing := spanRows(t, in), error(nil)
		for is, row := range listed {
			if told[is] != row {
				missing = errors.Join(missing, fmt.Errorf("the page says  %s\nso far it is    %s", row, told[is]))
			}
		}
		return missing
	})
}

// sendBack runs a job of the group's dead letters, as soon as there are any, and returns its id.
func sendBack(t *testing.T, s *suite.Suite, group string) string {
	t.Helper()
	replayer := suite.Client{Base: "http://" + s.Part("dlq-replayer", 0).Addr, Token: suite.Token(t, "olga", "operator")}
	var job struct{ ID string }
	suite.WaitFor(t, 60*time.Second, func() error {
		a, err := replayer.Do(t.Context(), http.MethodPost, "/jobs", map[string]any{
			"mode": "run", "reason": "test", "selection": map[string]any{"filter": map[string]string{"group": group}},
		})
		if err != nil {
			return err
		}
		if a.Status != http.StatusCreated {
			return fmt.Errorf("no job for %s: %v", group, a)
		}
		return json.Unmarshal(a.Body, &job)
	})
	return job.ID
}

// live lets everything happen that is told of: orders accepted, refused, repeated, asked about; records parked, dead and
// sent back. It returns the names of who and what took part: users, items, orders.
func live(t *testing.T, s *suite.Suite) (named []string) {
	t.Helper()
	const buyer, item, unknown, operator, nobodys = "brunhilde", "oolong", "unobtainium", "olga", "nobody's"
	s.Sell(item, 5)
	customer := s.As(0, buyer)
	var bought suite.Order
	for range 2 {
		bought = customer.Must(t, http.StatusCreated, http.MethodPost, "/orders", suite.Buy(item, 4), "Idempotency-Key", "once").Order(t)
	}
	suite.WaitFor(t, 60*time.Second, func() error {
		a, err := customer.Do(t.Context(), http.MethodGet, "/orders/"+bought.ID+"/shipment", nil)
		if err == nil && a.Status != http.StatusOK {
			err = fmt.Errorf("no shipment yet: %v", a)
		}
		return err
	})
	customer.Must(t, http.StatusConflict, http.MethodPost, "/orders", suite.Buy(item, 2))
	customer.Must(t, http.StatusUnprocessableEntity, http.MethodPost, "/orders", suite.Buy(unknown, 1))
	customer.Must(t, http.StatusUnprocessableEntity, http.MethodPost, "/orders", suite.Buy(unknown, 1), "Idempotency-Key", "looked-up")
	customer.Must(t, http.StatusOK, http.MethodGet, "/items/"+item, nil)
	customer.Must(t, http.StatusOK, http.MethodGet, "/me/points", nil)
	bad := uuid.NewString()
	s.Publish(event.StockChanges, record(t, bad, &stockv1.StockBooked{OrderId: bad})) // order-api does not know the order
	s.Publish(event.OrderStatusChanges, record(t, bad, &orderv1.OrderStatusChanged{
		OrderId: bad, From: orderv1.OrderStatus_ORDER_STATUS_CREATED, To: orderv1.OrderStatus_ORDER_STATUS_PAID, Order: &orderv1.Order{Id: nobodys},
	}))
	s.Publish(event.OrderStatusChanges, record(t, nobodys, &orderv1.OrderStatusChanged{ // for logistics: its id is none
		OrderId: nobodys, From: orderv1.OrderStatus_ORDER_STATUS_CREATED, To: orderv1.OrderStatus_ORDER_STATUS_PAID,
	}))
	s.Publish(event.OrderCreated, record(t, nobodys, &orderv1.OrderCreated{Order: &orderv1.Order{Id: nobodys}}))
	replayer := suite.Client{Base: "http://" + s.Part("dlq-replayer", 0).Addr, Token: suite.Token(t, operator, "operator")}
	suite.WaitFor(t, 60*time.Second, func() error {
		a, err := replayer.Do(t.Context(), http.MethodGet, "/letters?state=dead&group=order-api", nil)
		if err == nil && !strings.Contains(string(a.Body), bad) {
			err = fmt.Errorf("no letter yet: %v", a)
		}
		return err
	})
	for _, mode := range []string{"rehearse", "run"} {
		replayer.Must(t, http.StatusCreated, http.MethodPost, "/jobs", map[string]any{
			"mode": mode, "reason": "test", "selection": map[string]any{"filter": map[string]string{"group": event.OrderAPI}},
		})
	}
	suite.WaitFor(t, 60*time.Second, func() error { return slowest(t, s) })
	return []string{buyer, item, unknown, operator, nobodys, bought.ID, bad}
}

// slowest waits until the slowest tellers have told: the census, and the replays.
func slowest(t *testing.T, s *suite.Suite) error {
	all := scraped(t, s)
	for _, name := range []string{"floodgate_replays_total", "floodgate_letters_oldest_age_seconds", "floodgate_orders_stuck", "floodgate_outbox_oldest_age_seconds"} {
		if all[name] == nil {
			return fmt.Errorf("%s was not told yet", name)
		}
	}
	return nil
}

func record(t *testing.T, key string, m proto.Message) kafka.Message {
	t.Helper()
	value, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return kafka.Message{Key: []byte(key), Value: value, Headers: []kafka.Header{
		{Key: "ce_id", Value: []byte("test/" + key)},
		{Key: "ce_type", Value: []byte(event.Type(m))},
		{Key: "traceparent", Value: []byte("00-" + traceID + "-" + callerID + "-01")},
	}}
}
