package orderapi

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/proto/event"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	pointsv1 "github.com/floodgate-dev/floodgate/proto/floodgate/points/v1"
	shipmentv1 "github.com/floodgate-dev/floodgate/proto/floodgate/shipment/v1"
	stockv1 "github.com/floodgate-dev/floodgate/proto/floodgate/stock/v1"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/store"
)

// listener applies what the other services say, for the group order-api.
type listener struct {
	store *store.Store
	freed *freed // skus with other units
	items *freed // skus whose item changed
}

// handle applies a batch of stock-changes, shipment-changes and points-changes. It is a kafka.Handler.
func (l listener) handle(ctx context.Context, tx *database.Tx, records []kafka.Record) ([]bool, error) {
	facts := make([]order.Fact, 0, len(records))
	from := make([]int, 0, len(records)) // the record of each fact
	for i, record := range records {
		fact, means, err := read(record)
		if err != nil {
			return nil, err
		}
		if means {
			facts, from = append(facts, fact), append(from, i)
		}
	}
	applied, err := l.store.ApplyTx(ctx, tx, facts)
	if err != nil {
		return nil, fmt.Errorf("apply %d facts: %w", len(facts), err)
	}
	l.freed.note(slices.Collect(maps.Keys(applied.Freed)))
	l.items.note(applied.Items)
	changed := make([]bool, len(records))
	for i, did := range applied.Changed {
		changed[from[i]] = did
	}
	return changed, nil
}

// read says what a record means to orders and to what is sold, if it means anything.
func read(record kafka.Record) (fact order.Fact, means bool, err error) {
	message, err := event.Decode(record.Type(), record.Value)
	if err != nil {
		return fact, false, kafka.Undecodable(err)
	}
	fact, err = factOf(message)
	if err != nil || fact.Kind == "" {
		return fact, false, err
	}
	if err := fact.Check(); err != nil {
		return fact, false, malformed(err)
	}
	return fact, true, nil
}

// factOf is the fact that a message tells; one without a kind means nothing.
func factOf(message proto.Message) (order.Fact, error) {
	switch m := message.(type) {
	case *stockv1.ItemListed:
		return order.Fact{Kind: order.ItemListed, Item: order.CatalogueItem{
			SkuID: m.GetSkuId(), Name: m.GetName(), Version: m.GetVersion(), UnitPriceCents: order.Cents(m.GetUnitPriceCents()),
			Currency: m.GetCurrency(), PerCustomerLimit: int64(m.GetPerCustomerLimit()),
		}}, nil
	case *stockv1.ItemRetired:
		return order.Fact{Kind: order.ItemRetired, Item: order.CatalogueItem{SkuID: m.GetSkuId(), Version: m.GetVersion(), Retired: true}}, nil
	case *stockv1.StockGranted:
		return granted(order.UnitsGranted, m.GetGrantId(), m.GetSkuId(), m.GetUnits()), nil
	case *stockv1.StockRevoked:
		return granted(order.UnitsRevoked, m.GetRevokeId(), m.GetSkuId(), m.GetUnits()), nil
	case *stockv1.StockBooked:
		return told(order.UnitsBooked, event.Inventory, "booked", m.GetOrderId(), m.GetAtUnixMs(), "")
	case *stockv1.StockReleased:
		return told(order.Noted, event.Inventory, "released", m.GetOrderId(), m.GetAtUnixMs(), "")
	case *pointsv1.PointsAwarded:
		return told(order.Noted, event.Points, "points-awarded", m.GetOrderId(), m.GetAtUnixMs(), fmt.Sprintf("%d points", m.GetPoints()))
	case *pointsv1.PointsTakenBack:
		return told(order.Noted, event.Points, "points-taken-back", m.GetOrderId(), m.GetAtUnixMs(), fmt.Sprintf("%d points", m.GetPoints()))
	case *shipmentv1.ShipmentCreated:
		return told(order.Noted, event.Logistics, "shipment-created", m.GetShipment().GetOrderId(), m.GetAtUnixMs(), "")
	case *shipmentv1.ShipmentCalledOff:
		return told(order.Noted, event.Logistics, "shipment-called-off", m.GetShipment().GetOrderId(), m.GetAtUnixMs(), "")
	case *shipmentv1.ShipmentMoved:
		return movedShipment(m)
	}
	return order.Fact{}, nil
}

func granted(kind order.Kind, id, sku string, units int64) order.Fact {
	return order.Fact{Kind: kind, Grant: order.Grant{ID: id, SkuID: sku, Units: units}}
}

// told is a fact about one order. What it says also names it: each is told once in an order's life.
func told(kind order.Kind, service, what, orderID string, atMS int64, detail string) (order.Fact, error) {
	id, err := uuid.Parse(orderID)
	if err != nil {
		return order.Fact{}, malformed(fmt.Errorf("the order's id %q is no UUID", orderID))
	}
	return order.Fact{Kind: kind, Entry: order.Entry{
		OrderID: id.String(), Key: service + "/" + what, At: time.UnixMilli(atMS).UTC(), Service: service, What: what, By: service, Detail: detail,
	}}, nil
}

func movedShipment(m *shipmentv1.ShipmentMoved) (order.Fact, error) {
	kind, what := order.GoodsShipped, "shipped"
	switch m.GetShipment().GetStatus() {
	case shipmentv1.ShipmentStatus_SHIPMENT_STATUS_SHIPPED:
	case shipmentv1.ShipmentStatus_SHIPMENT_STATUS_DELIVERED:
		kind, what = order.GoodsDelivered, "delivered"
	default:
		return order.Fact{}, kafka.Undecodable(fmt.Errorf("a shipment does not move to %s", m.GetShipment().GetStatus()))
	}
	parcel := m.GetShipment()
	fact, err := told(kind, event.Logistics, what, parcel.GetOrderId(), m.GetAtUnixMs(), carrier(parcel))
	if m.GetBy() != "" {
		fact.Entry.By = m.GetBy()
	}
	return fact, err
}

func carrier(s *shipmentv1.Shipment) string {
	if s.GetCarrier() == "" || s.GetTrackingNo() == "" {
		return s.GetCarrier() + s.GetTrackingNo()
	}
	return s.GetCarrier() + " " + s.GetTrackingNo()
}

// malformed marks an event that was read and says what cannot be.
func malformed(err error) error { return kafka.Permanent("malformed-event", err) }

// freed are skus of which something changed in transactions that may not be committed yet.
type freed struct {
	mu    sync.Mutex
	noted map[string]time.Time // guarded by mu
}

func newFreed() *freed { return &freed{noted: map[string]time.Time{}} }

// settled is how long after a note its transaction is surely over.
const settled = time.Second

func (f *freed) note(skus []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, sku := range skus {
		f.noted[sku] = time.Now()
	}
}

// take lists what was noted. It is called after somebody's commit, which may have been another partition's: a note is
// listed again until its own commit must have come by.
func (f *freed) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var skus []string
	for sku, at := range f.noted {
		skus = append(skus, sku)
		if time.Since(at) > settled {
			delete(f.noted, sku)
		}
	}
	return skus
}

// checker compares announced moves with the database, for the group order-state-check.
type checker struct {
	store         *store.Store
	log           *slog.Logger
	disagreements metric.Int64Counter
}

func newChecker(s *store.Store, log *slog.Logger, provider metric.MeterProvider) (checker, error) {
	counter, err := provider.Meter("github.com/floodgate-dev/floodgate/services/order-api").Int64Counter(
		"floodgate.order.state.disagreements", metric.WithUnit("{move}"),
		metric.WithDescription("Announced moves that the database does not know, by why"))
	if err == nil {
		for _, why := range []string{order.WhyMissing, order.WhyAhead, order.WhyDiffers} {
			counter.Add(context.Background(), 0, because(why)) // shown from the start, so that the first is seen to be an increase
		}
	}
	return checker{s, log, counter}, err
}

func because(why string) metric.AddOption { return metric.WithAttributes(attribute.String("why", why)) }

// handle compares a batch of order-status-changes. It is a kafka.Handler; what it changes is what it repairs.
func (c checker) handle(ctx context.Context, tx *database.Tx, records []kafka.Record) ([]bool, error) {
	var announced []order.Announced
	var from []int // the record of each announced move
	for i, record := range records {
		move, is, err := announcedBy(record)
		if err != nil {
			return nil, err
		}
		if is {
			announced, from = append(announced, move), append(from, i)
		}
	}
	disagreements, err := c.store.CheckTx(ctx, tx, announced)
	if err != nil {
		return nil, fmt.Errorf("check %d moves: %w", len(announced), err)
	}
	repaired := map[order.Announced]bool{}
	for _, d := range disagreements {
		repaired[d.Announced] = d.Repaired
		c.disagreements.Add(ctx, 1, because(d.Why))
		c.log.ErrorContext(ctx, "an announced move is not what the database knows", "order", d.OrderID, "why", d.Why,
			"announced", d.Status, "announcedVersion", d.Version, "status", d.Now, "version", d.At, "repaired", d.Repaired)
	}
	changed := make([]bool, len(records))
	for i, move := range announced {
		changed[from[i]] = repaired[move]
	}
	return changed, nil
}

// statuses are the words of events for the states of an order.
var statuses = map[orderv1.OrderStatus]order.Status{
	orderv1.OrderStatus_ORDER_STATUS_CREATED:   order.Created,
	orderv1.OrderStatus_ORDER_STATUS_CONFIRMED: order.Confirmed,
	orderv1.OrderStatus_ORDER_STATUS_PAID:      order.Paid,
	orderv1.OrderStatus_ORDER_STATUS_SHIPPED:   order.Shipped,
	orderv1.OrderStatus_ORDER_STATUS_DELIVERED: order.Delivered,
	orderv1.OrderStatus_ORDER_STATUS_CANCELLED: order.Cancelled,
	orderv1.OrderStatus_ORDER_STATUS_REFUNDED:  order.Refunded,
}

// announcedBy is the move that a record announces, if it announces one.
func announcedBy(record kafka.Record) (move order.Announced, is bool, err error) {
	message, err := event.Decode(record.Type(), record.Value)
	if err != nil {
		return move, false, kafka.Undecodable(err)
	}
	m, is := message.(*orderv1.OrderStatusChanged)
	if !is {
		return move, false, nil
	}
	status, known := statuses[m.GetTo()]
	id, err := uuid.Parse(m.GetOrderId())
	if !known || err != nil {
		return move, false, kafka.Undecodable(fmt.Errorf("a move of order %q to %s", m.GetOrderId(), m.GetTo()))
	}
	return order.Announced{OrderID: id.String(), Version: m.GetVersion(), Status: status}, true, nil
}
