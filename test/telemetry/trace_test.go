package telemetry_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/proto/event"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	"github.com/floodgate-dev/floodgate/test/suite"
)

// The trace that the test begins, as a shop's own back end would.
const (
	traceID  = "0af7651916cd43dd8448eb211c80319c"
	callerID = "b7ad6b7169203331"
	askingID = "0af7651916cd43dd8448eb211c80319d" // of a request that asks another service
	dyingID  = "0af7651916cd43dd8448eb211c80319e" // of a record that dies and is sent back
)

// want is the life of one captured order, from the shop's request to the last group that hears of it.
const want = `POST /api/v1/orders (order-api, server)
  accept batch (order-api, internal)
  commit (order-api, internal)
  gate (order-api, internal)
  gate batch (order-api, internal)
  item (order-api, internal)
  middleware (order-api, internal)
  queue (order-api, internal)
  send order_created (order-api, producer)
    process order_created (inventory, consumer)
      send stock-changes (inventory, producer)
        process stock-changes (order-api, consumer)
          send order-status-changes (order-api, producer)
            process order-status-changes (inventory, consumer)
            process order-status-changes (logistics, consumer)
              send shipment-changes (logistics, producer)
                process shipment-changes (order-api, consumer)
            process order-status-changes (order-api, consumer)
            process order-status-changes (points, consumer)
              send points-changes (points, producer)
                process points-changes (order-api, consumer)
`

// wantAsking is a request that another service answers.
const wantAsking = `GET /api/v1/orders/:id/shipment (order-api, server)
  floodgate.shipment.v1.LogisticsService/GetShipment (order-api, client)
    floodgate.shipment.v1.LogisticsService/GetShipment (logistics, server)
`

// TestOneTraceTellsAnOrdersWholeLife lets a shop record one of its requests, among others that nobody records, and reads
// what all five services sent by OTLP: three over gRPC, two over HTTP.
func TestOneTraceTellsAnOrdersWholeLife(t *testing.T) {
	t.Parallel()
	in := receive(t)
	env := []string{"FLOODGATE_TRACE_SAMPLE_RATIO=0", "FLOODGATE_TRACE_SLOW=1m", "FLOODGATE_RESOURCE_ATTRIBUTES=deployment.environment.name=test", "FLOODGATE_LOG_FORMAT=json", "OTEL_BSP_SCHEDULE_DELAY=200"}
	for _, service := range []string{"ORDER_API", "INVENTORY", "DLQ_REPLAYER"} {
		env = append(env, service+"_OTLP_ENDPOINT="+in.grpc)
	}
	for _, service := range []string{"POINTS", "LOGISTICS"} {
		env = append(env, service+"_OTLP_ENDPOINT="+in.http, service+"_OTLP_PROTOCOL=http/protobuf")
	}
	s := suite.Start(t, suite.Config{Env: env})
	s.Sell("tea", 100)
	ann := s.As(0, "ann")
	order := func(headers ...string) suite.Order {
		return ann.Must(t, http.StatusCreated, http.MethodPost, "/orders", suite.Buy("tea", 1), headers...).Order(t)
	}
	order()
	recorded := order("traceparent", "00-"+traceID+"-"+callerID+"-01")
	order("traceparent", "00-11111111111111111111111111111111-b7ad6b7169203331-00")

	becomes(t, in, traceID, want)
	for _, s := range in.all() {
		if id := fmt.Sprintf("%x", s.GetTraceId()); id != traceID {
			t.Errorf("%s belongs to trace %s, which nobody recorded", line(s), id)
		}
	}
	draw(t, in.all(), in.branches(traceID, callerID, byTime))
	ann.Must(t, http.StatusOK, http.MethodGet, "/orders/"+recorded.ID+"/shipment", nil, "traceparent", "00-"+askingID+"-"+callerID+"-01")
	becomes(t, in, askingID, wantAsking)
	examples(t, s)
	replayed(t, s, in)
	links(t, in)
	statements(t, in)
	resources(t, in)
	logged(t, s)
}

// becomes waits until the trace called id is the tree.
func becomes(t *testing.T, in *receiver, id, tree string) {
	t.Helper()
	suite.WaitFor(t, 60*time.Second, func() error {
		if got := in.tree(id, callerID); got != tree {
			return fmt.Errorf("the trace is\n%swant\n%s", got, tree)
		}
		return nil
	})
}

// replayed lets a record die and sends it back: the job's spans belong to the record's trace, and name the job.
func replayed(t *testing.T, s *suite.Suite, in *receiver) {
	t.Helper()
	doomed := record(t, "nobody's", &orderv1.OrderStatusChanged{ // its id is none
		OrderId: "nobody's", From: orderv1.OrderStatus_ORDER_STATUS_CREATED, To: orderv1.OrderStatus_ORDER_STATUS_PAID,
	})
	for i, h := range doomed.Headers {
		if h.Key == "traceparent" {
			doomed.Headers[i].Value = []byte("00-" + dyingID + "-" + callerID + "-01")
		}
	}
	s.Publish(event.OrderStatusChanges, doomed)
	job := sendBack(t, s, event.Logistics)
	suite.WaitFor(t, 60*time.Second, func() error {
		if tree := in.tree(dyingID, callerID); !strings.Contains(tree, "process replay-logistics (logistics, consumer)\n") ||
			!strings.Contains(tree, "send replay-logistics (dlq-replayer, producer)\n") {
			return fmt.Errorf("the trace is\n%s", tree)
		}
		return nil
	})
	for _, name := range []string{"send replay-logistics", "process replay-logistics"} { // a letter keeps the header of whom it came from, so they are siblings
		one := in.named(dyingID, name)[0]
		if about := words(one.GetAttributes()); job == "" || about["floodgate.replay.job"] != job || about["floodgate.replay.letter"] == "" {
			t.Errorf("%s says %v, want the job %s", line(one), about, job)
		}
	}
}

// links checks that the order knows its batch and the batch its order, and that each record is linked to its send.
func links(t *testing.T, in *receiver) {
	t.Helper()
	root, batch, commit := in.named(traceID, "POST /api/v1/orders")[0], in.named(traceID, "accept batch")[0], in.named(traceID, "commit")[0]
	if !slices.Contains(commit.links(), batch.id()) || !slices.Contains(batch.links(), root.id()) {
		t.Errorf("commit is linked to %v, the batch (%s) to %v, the order is %s", commit.links(), batch.id(), batch.links(), root.id())
	}
	for _, topic := range []string{"order_created", "stock-changes", "order-status-changes", "points-changes", "shipment-changes"} {
		sent := in.named(traceID, "send "+topic)[0]
		for _, processed := range in.named(traceID, "process "+topic) {
			if !slices.Contains(processed.links(), sent.id()) {
				t.Errorf("%s is linked to %v, not to its send %s", line(processed), processed.links(), sent.id())
			}
			about := words(processed.GetAttributes())
			if about["messaging.system"] != "kafka" || about["messaging.consumer.group.name"] == "" || about["messaging.destination.name"] != topic {
				t.Errorf("%s says %v", line(processed), about)
			}
		}
	}
}

// statements checks that the batch and every group show what they did to their databases, by summary and without values.
func statements(t *testing.T, in *receiver) {
	t.Helper()
	below := map[string][]string{}
	for _, s := range in.all() {
		about := words(s.GetAttributes())
		if about["db.system.name"] == "" {
			continue
		}
		for _, parent := range in.all() {
			if string(parent.GetSpanId()) == string(s.GetParentSpanId()) {
				below[parent.GetName()] = append(below[parent.GetName()], s.GetName())
			}
		}
		if about["db.query.summary"] == "" || strings.Contains(about["db.query.text"], "'ann'") {
			t.Errorf("%s says %v", line(s), about)
		}
	}
	if all := strings.Join(below["accept batch"], "; "); !strings.Contains(all, "allotments") || !strings.Contains(all, "orders") {
		t.Errorf("the batch did %s", all)
	}
	if len(below["gate batch"]) == 0 {
		t.Errorf("the gate shows no command of Redis: %v", below)
	}
	for _, topic := range []string{"order_created", "order-status-changes", "stock-changes"} {
		if len(below["process "+topic]) == 0 {
			t.Errorf("process %s shows no statement: %v", topic, below)
		}
	}
}

func resources(t *testing.T, in *receiver) {
	t.Helper()
	how := map[string]string{}
	for _, s := range in.all() {
		how[s.service] = s.how
		for _, key := range []string{"service.version", "service.instance.id", "host.name"} {
			if s.about[key] == "" {
				t.Fatalf("%s has no %s: %v", line(s), key, s.about)
			}
		}
		if s.about["service.namespace"] != "floodgate" || s.about["deployment.environment.name"] != "test" {
			t.Fatalf("%s comes from %v", line(s), s.about)
		}
	}
	if how["order-api"] != "grpc" || how["inventory"] != "grpc" || how["points"] != "http" || how["logistics"] != "http" {
		t.Errorf("spans came by %v", how)
	}
}

// logged checks that the request's line names the trace, and so does that of a request whose trace nobody records.
func logged(t *testing.T, s *suite.Suite) {
	t.Helper()
	suite.WaitFor(t, 10*time.Second, func() error {
		text := s.Part("order-api", 0).Log()
		for _, id := range []string{traceID, "11111111111111111111111111111111"} {
			if !strings.Contains(text, `"trace_id":"`+id+`"`) {
				return fmt.Errorf("no line of the log names trace %s", id)
			}
		}
		return nil
	})
}
