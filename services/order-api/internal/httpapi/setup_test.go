package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/config"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	pointsv1 "github.com/floodgate-dev/floodgate/proto/floodgate/points/v1"
	shipmentv1 "github.com/floodgate-dev/floodgate/proto/floodgate/shipment/v1"
	stockv1 "github.com/floodgate-dev/floodgate/proto/floodgate/stock/v1"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/accept"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/admission"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/gate"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/shield"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"))
}

// keyOf signs the tests' tokens.
var keyOf = auth.Config{Key: config.Secret(strings.Repeat("k", 32))}

// world is a door over a real order book, with neighbours that say what the test wants. Every answer it gives is held
// against openapi.yaml.
type world struct {
	*testing.T
	base   string
	store  *store.Store
	db     *database.DB
	server *Server
	away   *neighbours
	log    *bytes.Buffer // what was logged; read it when the door is closed
	close  func()
}

func setup(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	db := servertest.SQLite(t)
	must(t, database.Migrate(t.Context(), db, store.Migrations, outbox.Migrations))
	books, err := store.Open(db)
	must(t, err)
	verifier, err := auth.New(t.Context(), keyOf)
	must(t, err)
	w := &world{T: t, store: books, db: db, away: &neighbours{}, log: &bytes.Buffer{}}
	log := slog.New(slog.NewTextHandler(w.log, nil))
	committer, err := accept.New(accept.Config{
		Books: books, Gate: gate.Off{}, SoldOut: gate.NewSoldOut(), Committers: 1, Queue: 100, Wake: func() {}, Log: log, Meter: noop.NewMeterProvider(),
	})
	must(t, err)
	cfg := Config{
		Orders: committer, Books: books, Items: books, Verifier: verifier, Inventory: inventory{w.away}, Points: points{w.away},
		Logistics: logistics{w.away}, Freed: func(context.Context, ...string) {}, Wake: func() {}, Log: log,
		PaymentWindow: time.Hour, Lanes: lanes(t, admission.Defaults()), Shield: guarded(t, ""), Overloaded: committer.Overloaded,
	}
	for _, c := range change {
		c(&cfg)
	}
	w.server, err = New(cfg)
	must(t, err)
	web := httptest.NewServer(w.server)
	w.base = web.URL
	ctx, cancel := context.WithCancel(t.Context())
	var parts sync.WaitGroup
	parts.Go(func() { _ = committer.Run(ctx) })
	parts.Go(func() { _ = w.server.Run(ctx) })
	w.close = sync.OnceFunc(func() { cancel(); web.Close(); parts.Wait() })
	t.Cleanup(w.close)
	w.sell("tea", 450, 1000)
	return w
}

func lanes(t testing.TB, cfg admission.Config) *admission.Lanes {
	t.Helper()
	r, err := admission.New(cfg, admission.Observers{Log: slog.New(slog.DiscardHandler), Meter: noop.NewMeterProvider()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// guarded is a shield with these rules.
func guarded(t testing.TB, rules string) *shield.Shield {
	t.Helper()
	s, err := shield.New(shield.Config{Rules: rules}, shield.Observers{Log: slog.New(slog.DiscardHandler), Meter: noop.NewMeterProvider()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// sell lists an item and grants units of it.
func (w *world) sell(sku string, price order.Cents, units int64) {
	w.Helper()
	w.apply(
		order.Fact{Kind: order.ItemListed, Item: order.CatalogueItem{SkuID: sku, Name: sku, Version: 1, UnitPriceCents: price, Currency: "EUR"}},
		order.Fact{Kind: order.UnitsGranted, Grant: order.Grant{ID: "grant-" + sku, SkuID: sku, Units: units}})
}

func (w *world) apply(facts ...order.Fact) {
	w.Helper()
	must(w.T, w.db.Tx(w.Context(), func(tx *database.Tx) error {
		_, err := w.store.ApplyTx(w.Context(), tx, facts)
		return err
	}))
}

// neighbours answers for the three services behind gRPC; err stands for every answer while it is set.
type neighbours struct {
	mu    sync.Mutex
	err   error
	calls int
	asked any // the last question
}

func (n *neighbours) say(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
}

func (n *neighbours) called() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls
}

func (n *neighbours) question() any {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// reply is what every method of every neighbour does.
func reply[A any](n *neighbours, asked any, answer A) (A, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls++
	n.asked = asked
	if n.err != nil {
		var none A
		return none, n.err
	}
	return answer, nil
}

type inventory struct{ *neighbours }

func (i inventory) PutItem(_ context.Context, q *stockv1.PutItemRequest, _ ...grpc.CallOption) (*stockv1.PutItemResponse, error) {
	return reply(i.neighbours, q, &stockv1.PutItemResponse{Version: 7})
}

func (i inventory) RetireItem(_ context.Context, q *stockv1.RetireItemRequest, _ ...grpc.CallOption) (*stockv1.RetireItemResponse, error) {
	return reply(i.neighbours, q, &stockv1.RetireItemResponse{Version: 8})
}

func (i inventory) ChangeStock(_ context.Context, q *stockv1.ChangeStockRequest, _ ...grpc.CallOption) (*stockv1.ChangeStockResponse, error) {
	return reply(i.neighbours, q, &stockv1.ChangeStockResponse{Stock: &stockv1.Stock{SkuId: q.GetSkuId(), OnHandUnits: 12, GrantedUnsoldUnits: 12}})
}

func (i inventory) GetStock(_ context.Context, q *stockv1.GetStockRequest, _ ...grpc.CallOption) (*stockv1.GetStockResponse, error) {
	return reply(i.neighbours, q, &stockv1.GetStockResponse{})
}

type points struct{ *neighbours }

func (p points) GetBalance(_ context.Context, q *pointsv1.GetBalanceRequest, _ ...grpc.CallOption) (*pointsv1.GetBalanceResponse, error) {
	return reply(p.neighbours, q, &pointsv1.GetBalanceResponse{BalancePoints: 42})
}

type logistics struct{ *neighbours }

const parcel = "01a20ce4-063b-7c3e-9d2a-5f0c8e1b7a64"

func (l logistics) GetShipment(_ context.Context, q *shipmentv1.GetShipmentRequest, _ ...grpc.CallOption) (*shipmentv1.GetShipmentResponse, error) {
	return reply(l.neighbours, q, &shipmentv1.GetShipmentResponse{Shipment: &shipmentv1.Shipment{
		Id: parcel, OrderId: q.GetOrderId(), Status: shipmentv1.ShipmentStatus_SHIPMENT_STATUS_CREATED,
	}})
}

func (l logistics) ReportCarrierNews(_ context.Context, q *shipmentv1.ReportCarrierNewsRequest, _ ...grpc.CallOption) (*shipmentv1.ReportCarrierNewsResponse, error) {
	return reply(l.neighbours, q, &shipmentv1.ReportCarrierNewsResponse{Shipment: &shipmentv1.Shipment{
		Id: q.GetShipmentId(), OrderId: parcel, Status: q.GetStatus(), Carrier: q.GetCarrier(), TrackingNo: q.GetTrackingNo(),
	}})
}

// who are the callers of the tests.
func token(t *testing.T, subject string, roles ...string) string {
	t.Helper()
	text, err := auth.Issue(keyOf, subject, roles, time.Hour)
	must(t, err)
	return text
}

// answer is what came back.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// problem reads a refusal.
func (a answer) problem(t *testing.T) problem {
	t.Helper()
	var p problem
	if a.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("answered %d %s: no problem", a.Status, a.Body)
	}
	must(t, json.Unmarshal([]byte(a.Body), &p))
	return p
}

func (a answer) order(t *testing.T) orderView {
	t.Helper()
	var o orderView
	must(t, json.Unmarshal([]byte(a.Body), &o))
	return o
}

// do sends one request under /api/v1 and holds the answer against openapi.yaml. Headers come in pairs; a body is JSON.
func (w *world) do(method, path, token, body string, headers ...string) answer {
	w.Helper()
	ask, err := http.NewRequestWithContext(w.Context(), method, w.base+path, strings.NewReader(body))
	must(w.T, err)
	if body == "" {
		ask.Body, ask.ContentLength = http.NoBody, 0
	} else {
		ask.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		ask.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		ask.Header.Set(headers[i], headers[i+1])
	}
	got, err := http.DefaultTransport.RoundTrip(ask)
	must(w.T, err)
	text, err := io.ReadAll(got.Body)
	must(w.T, err)
	must(w.T, got.Body.Close())
	got.Body = io.NopCloser(bytes.NewReader(text))
	conforms(w.T, ask, got)
	return answer{got.StatusCode, got.Header, string(text)}
}

// place orders one tea for a customer.
func (w *world) place(token string) orderView {
	w.Helper()
	a := w.do(http.MethodPost, "/api/v1/orders", token, `{"skuId":"tea","quantity":1}`)
	if a.Status != http.StatusCreated {
		w.Fatalf("place: %d %s", a.Status, a.Body)
	}
	return a.order(w.T)
}

// spec is openapi.yaml, read once.
var spec = sync.OnceValues(func() (validator.Validator, error) {
	document, err := libopenapi.NewDocument(openapi)
	if err != nil {
		return nil, err
	}
	v, errs := validator.NewValidator(document)
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return v, nil
})

// conforms fails the test if openapi.yaml does not know such an answer to such a request.
func conforms(t *testing.T, ask *http.Request, got *http.Response) {
	t.Helper()
	v, err := spec()
	must(t, err)
	if got.StatusCode == http.StatusMethodNotAllowed || ask.URL.Path == "/api/v1/nothing" {
		return // no operation of the interface
	}
	if ok, complaints := v.ValidateHttpResponse(ask, got); !ok {
		for _, c := range complaints {
			t.Errorf("%s %s answered %d: %s: %s %v", ask.Method, ask.URL.Path, got.StatusCode, c.Message, c.Reason, c.SchemaValidationErrors)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func decoded(t *testing.T, a answer, into any) {
	t.Helper()
	if a.Status != http.StatusOK {
		t.Fatalf("answered %d %s", a.Status, a.Body)
	}
	must(t, json.Unmarshal([]byte(a.Body), into))
}
