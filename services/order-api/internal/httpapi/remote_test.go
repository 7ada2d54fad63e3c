package httpapi

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	shipmentv1 "github.com/floodgate-dev/floodgate/proto/floodgate/shipment/v1"
	stockv1 "github.com/floodgate-dev/floodgate/proto/floodgate/stock/v1"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// What a neighbour answers, in the words of this interface.
func TestNeighboursRefusals(t *testing.T) {
	t.Parallel()
	bad, err := status.New(codes.InvalidArgument, "bad").WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "unit_price_cents", Description: "must be 0 or more"}},
	})
	must(t, err)
	for name, c := range map[string]struct {
		err                error
		method, path, body string
		status             int
		code               order.Code
		field              string
	}{
		"never listed":      {status.Error(codes.NotFound, "the item was never listed"), "DELETE", "/items/tea", "", 404, order.NotFound, ""},
		"a bad field":       {bad.Err(), "PUT", "/items/tea", `{"name":"Tea","unitPriceCents":-1,"currency":"EUR"}`, 422, order.InvalidRequest, "unitPriceCents"},
		"no price":          {nil, "PUT", "/items/tea", `{"name":"Tea","currency":"EUR"}`, 422, order.InvalidRequest, "unitPriceCents"},
		"fewer there":       {status.Error(codes.FailedPrecondition, "fewer units are there"), "POST", "/items/tea/stock", `{"units":-5}`, 422, order.InvalidRequest, "units"},
		"an id used before": {status.Error(codes.AlreadyExists, "other change"), "POST", "/items/tea/stock", `{"units":5,"requestId":"r"}`, 422, order.KeyReused, ""},
		"called off":        {status.Error(codes.FailedPrecondition, "it was called off"), "POST", "/shipments/" + parcel + "/events", `{"status":"shipped"}`, 409, order.IllegalMove, ""},
		"lost in the post":  {nil, "POST", "/shipments/" + parcel + "/events", `{"status":"lost"}`, 422, order.InvalidRequest, "status"},
		"no shipment's id":  {nil, "POST", "/shipments/tea/events", `{"status":"shipped"}`, 404, order.NotFound, ""},
		"away":              {status.Error(codes.Unavailable, "dial tcp 10.0.0.1: refused"), "DELETE", "/items/tea", "", 503, dependencyAway, ""},
		"its own fault":     {status.Error(codes.Internal, "secret"), "DELETE", "/items/tea", "", 500, internal, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			w.away.say(c.err)
			a := w.do(c.method, "/api/v1"+c.path, token(t, "desk", "operator"), c.body)
			p := a.problem(t)
			field := ""
			if len(p.Errors) == 1 {
				field = p.Errors[0].Field
			}
			if a.Status != c.status || p.Code != c.code || field != c.field {
				t.Errorf("answered %d %s, want %d %s of %q", a.Status, a.Body, c.status, c.code, c.field)
			}
		})
	}
}

func TestOperatorsQuestionsArriveWhole(t *testing.T) {
	t.Parallel()
	w := setup(t)
	desk := token(t, "desk", "operator")
	a := w.do("POST", "/api/v1/items/tea/stock", desk, `{"units":-3,"reason":"broken"}`, "X-Request-Id", "call-7")
	q, _ := w.away.question().(*stockv1.ChangeStockRequest)
	if a.Status != 202 || q.GetSkuId() != "tea" || q.GetUnitsDelta() != -3 || q.GetReason() != "broken" || q.GetRequestId() != "call-7" || q.GetBy() != "operator:desk" {
		t.Errorf("%d %s: inventory was asked %v", a.Status, a.Body, q)
	}
	a = w.do("POST", "/api/v1/shipments/"+parcel+"/events", desk, `{"status":"delivered","carrier":"Pigeon","trackingNo":"P-1"}`)
	news, _ := w.away.question().(*shipmentv1.ReportCarrierNewsRequest)
	if a.Status != 200 || news.GetShipmentId() != parcel || news.GetStatus() != shipmentv1.ShipmentStatus_SHIPMENT_STATUS_DELIVERED ||
		news.GetCarrier() != "Pigeon" || news.GetTrackingNo() != "P-1" || news.GetBy() != "operator:desk" {
		t.Errorf("%d %s: logistics was asked %v", a.Status, a.Body, news)
	}
}

// While a neighbour is away people are told at once, and soon after it is back they are served. An order needs no
// neighbour, and one breaker is not another's.
func TestABreakerOpensAndCloses(t *testing.T) {
	t.Parallel()
	w := setup(t)
	customer := token(t, "u-1")
	w.away.say(status.Error(codes.Unavailable, "away"))
	for range 10 {
		if a := w.do("GET", "/api/v1/me/points", customer, ""); a.Status != 503 || a.problem(t).Code != dependencyAway {
			t.Fatalf("answered %d %s", a.Status, a.Body)
		}
	}
	if calls := w.away.called(); calls >= 10 {
		t.Errorf("points was asked %d times of 10 while it is away", calls)
	}
	w.place(customer)
	w.away.say(nil)
	if a := w.do("GET", "/api/v1/orders/"+w.place(customer).ID+"/shipment", customer, ""); a.Status != 200 {
		t.Errorf("another neighbour: %d %s", a.Status, a.Body)
	}
	deadline := time.Now().Add(20 * time.Second)
	for w.do("GET", "/api/v1/me/points", customer, "").Status != 200 {
		if time.Now().After(deadline) {
			t.Fatal("points is back and nobody asks it")
		}
		<-time.After(20 * time.Millisecond)
	}
}

// A refusal is an answer: it opens no breaker.
func TestRefusalsOpenNoBreaker(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.away.say(status.Error(codes.NotFound, "there is no such shipment"))
	customer := token(t, "u-1")
	id := w.place(customer).ID
	for range 20 {
		if a := w.do("GET", "/api/v1/orders/"+id+"/shipment", customer, ""); a.Status != 404 {
			t.Fatalf("answered %d %s", a.Status, a.Body)
		}
	}
}

// Nobody waits for a neighbour that does not answer.
func TestAskEnds(t *testing.T) {
	t.Parallel()
	r := newRemotes(guarded(t, ""))
	_, err := ask(t.Context(), r.points, func(ctx context.Context, _ string, _ ...grpc.CallOption) (string, error) {
		<-ctx.Done()
		return "", status.FromContextError(ctx.Err()).Err()
	}, "")
	var refusal *order.Error
	if !errors.As(err, &refusal) || refusal.Code != dependencyAway {
		t.Errorf("ask: %v", err)
	}
}
