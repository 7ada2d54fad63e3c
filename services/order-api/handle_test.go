package orderapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/proto/event"
	orderv1 "github.com/floodgate-dev/floodgate/proto/floodgate/order/v1"
	pointsv1 "github.com/floodgate-dev/floodgate/proto/floodgate/points/v1"
	shipmentv1 "github.com/floodgate-dev/floodgate/proto/floodgate/shipment/v1"
	stockv1 "github.com/floodgate-dev/floodgate/proto/floodgate/stock/v1"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/store"
)

// shop is a store that sells ten teas, and the handlers that listen for it.
type shop struct {
	*store.Store
	db    *database.DB
	freed *freed
}

func open(t *testing.T, db *database.DB) shop {
	t.Helper()
	must(t, database.Migrate(t.Context(), db, outbox.Migrations, store.Migrations))
	books, err := store.Open(db)
	must(t, err)
	s := shop{books, db, newFreed()}
	_, err = s.hear(t.Context(),
		&stockv1.ItemListed{SkuId: "tea", Version: 1, Name: "Tea", UnitPriceCents: 250, Currency: "EUR"},
		&stockv1.ItemListed{SkuId: "mug", Version: 1, Name: "Mug", UnitPriceCents: 900, Currency: "EUR"},
		&stockv1.StockGranted{GrantId: "first", SkuId: "tea", Units: 10})
	must(t, err)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func record(m proto.Message) kafka.Record {
	value, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return kafka.Record{Value: value, Headers: []outbox.Header{{Key: "ce_type", Value: []byte(event.Type(m))}}}
}

// handled runs a handler in a transaction, as the consumer runtime does.
func (s shop) handled(ctx context.Context, handle kafka.Handler, records ...kafka.Record) (changed []bool, err error) {
	err = s.db.Tx(ctx, func(tx *database.Tx) error {
		changed, err = handle(ctx, tx, records)
		return err
	})
	return changed, err
}

func (s shop) hear(ctx context.Context, messages ...proto.Message) ([]bool, error) {
	records := make([]kafka.Record, len(messages))
	for i, m := range messages {
		records[i] = record(m)
	}
	return s.handled(ctx, listener{s.Store, s.freed, newFreed()}.handle, records...)
}

// buy accepts an order of one tea.
func (s shop) buy(t *testing.T, mode order.PaymentMode, window time.Duration) order.Order {
	t.Helper()
	verdicts, err := s.Accept(t.Context(), []order.Draft{{
		ID: uuid.Must(uuid.NewV7()).String(), UserID: "u", Lines: []order.Line{{SkuID: "tea", Quantity: 1}}, Payment: mode,
		Window: window, By: "u",
	}})
	must(t, err)
	must(t, verdicts[0].Err)
	return verdicts[0].Order
}

// booked is the place of the delivered order's booking in its life.
const booked = 4

// life is every event that the other services send about a delivered and a cancelled order, and about what is sold.
func life(delivered, cancelled string) []proto.Message {
	parcel := func(status shipmentv1.ShipmentStatus) *shipmentv1.Shipment {
		return &shipmentv1.Shipment{Id: uuid.NewString(), OrderId: delivered, Status: status, Carrier: "DHL", TrackingNo: "1"}
	}
	return []proto.Message{
		&stockv1.ItemListed{SkuId: "tea", Version: 2, Name: "Better tea", UnitPriceCents: 300, Currency: "EUR"},
		&stockv1.ItemRetired{SkuId: "mug", Version: 2},
		&stockv1.StockGranted{GrantId: "second", SkuId: "tea", Units: 5},
		&stockv1.StockRevoked{RevokeId: "second", SkuId: "tea", Units: 12},
		&stockv1.StockBooked{OrderId: delivered, Lines: []*stockv1.StockLine{{SkuId: "tea", Units: 1}}, AtUnixMs: 1},
		&pointsv1.PointsAwarded{OrderId: delivered, UserId: "u", Points: 2, AtUnixMs: 2},
		&shipmentv1.ShipmentCreated{Shipment: parcel(shipmentv1.ShipmentStatus_SHIPMENT_STATUS_CREATED), AtUnixMs: 3},
		&shipmentv1.ShipmentMoved{Shipment: parcel(shipmentv1.ShipmentStatus_SHIPMENT_STATUS_SHIPPED), AtUnixMs: 4},
		&shipmentv1.ShipmentMoved{Shipment: parcel(shipmentv1.ShipmentStatus_SHIPMENT_STATUS_DELIVERED), AtUnixMs: 5},
		&stockv1.StockBooked{OrderId: cancelled, Lines: []*stockv1.StockLine{{SkuId: "tea", Units: 1}}, AtUnixMs: 6},
		&stockv1.StockReleased{OrderId: cancelled, Lines: []*stockv1.StockLine{{SkuId: "tea", Units: 1}}, AtUnixMs: 7},
	}
}

// ending is what must be the same however events came.
type ending struct {
	delivered, cancelled       order.Status
	deliveredVersion           int64
	remaining, owed            int64
	tea                        string
	mugRetired                 bool
	toldDelivered, toldCancels int
}

func (s shop) ending(t *testing.T, delivered, cancelled string) (e ending) {
	t.Helper()
	d, err := s.Get(t.Context(), delivered)
	must(t, err)
	c, err := s.Get(t.Context(), cancelled)
	must(t, err)
	e.delivered, e.deliveredVersion, e.cancelled = d.Status, d.Version, c.Status
	must(t, s.db.QueryRowContext(t.Context(), `SELECT remaining, owed FROM allotments WHERE sku_id = 'tea'`).Scan(&e.remaining, &e.owed))
	items, err := s.ItemsOf(t.Context(), []string{"tea", "mug"})
	must(t, err)
	e.tea, e.mugRetired = items["tea"].Name, items["mug"].Retired
	for id, told := range map[string]*int{delivered: &e.toldDelivered, cancelled: &e.toldCancels} {
		entries, err := s.Timeline(t.Context(), id)
		must(t, err)
		*told = len(entries)
	}
	return e
}

// Every event comes three times, in batches cut anywhere. Ten teas and five more came, twelve went, two were sold and one
// came back: two are left.
func TestEventsInAnyOrderEndInOneState(t *testing.T) {
	t.Parallel()
	want := ending{
		delivered: order.Delivered, deliveredVersion: 4, cancelled: order.Cancelled, remaining: 2, owed: 0,
		tea: "Better tea", mugRetired: true, toldDelivered: 9, toldCancels: 4,
	}
	for name, arrange := range map[string]func(events []int, r *rand.Rand){
		"AsTheyHappened":   func([]int, *rand.Rand) {},
		"TheTerminalFirst": func(events []int, _ *rand.Rand) { slices.Reverse(events) },
		"Shuffled":         func(events []int, r *rand.Rand) { r.Shuffle(len(events), swap(events)) },
		"ShuffledAgain":    func(events []int, r *rand.Rand) { r.Shuffle(len(events), swap(events)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
				t.Helper()
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				r := rand.New(rand.NewPCG(seed, 0))
				s := open(t, db)
				delivered, cancelled := s.buy(t, order.Captured, 0).ID, s.buy(t, order.Deferred, time.Hour).ID
				_, _, err := s.Cancel(t.Context(), cancelled, "u", "")
				must(t, err)

				events := life(delivered, cancelled)
				thrice := slices.Concat(numbers(len(events)), numbers(len(events)), numbers(len(events)))
				arrange(thrice, r)
				changes := make([]int, len(events))
				// Logistics ships what this database announced as paid, so a booking was applied before any parcel left.
				_, err = s.hear(t.Context(), events[booked])
				must(t, err)
				changes[booked]++
				for len(thrice) > 0 {
					batch := thrice[:1+r.IntN(min(7, len(thrice)))]
					thrice = thrice[len(batch):]
					messages := make([]proto.Message, len(batch))
					for i, of := range batch {
						messages[i] = events[of]
					}
					changed, err := s.hear(t.Context(), messages...)
					must(t, err)
					for i, of := range batch {
						if changed[i] {
							changes[of]++
						}
					}
				}
				if got := s.ending(t, delivered, cancelled); got != want {
					t.Errorf("ended in\n%+v, want\n%+v", got, want)
				}
				for of, n := range changes {
					if n != 1 {
						t.Errorf("%T %v changed something %d times, want once", events[of], events[of], n)
					}
				}
			})
		})
	}
}

func swap(of []int) func(i, j int) { return func(i, j int) { of[i], of[j] = of[j], of[i] } }

func numbers(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func TestListenerRefuses(t *testing.T) {
	t.Parallel()
	s := open(t, servertest.Postgres(t))
	good := record(&stockv1.StockGranted{GrantId: "good", SkuId: "tea", Units: 1})
	stranger := &shipmentv1.Shipment{OrderId: uuid.NewString(), Status: shipmentv1.ShipmentStatus_SHIPMENT_STATUS_SHIPPED}
	for name, bad := range map[string]kafka.Record{
		"BytesThatAreNoMessage": {Value: []byte{0xff}, Headers: record(&stockv1.StockGranted{}).Headers},
		"AnUnknownType":         {Headers: []outbox.Header{{Key: "ce_type", Value: []byte("who.knows")}}},
		"AGrantWithoutUnits":    record(&stockv1.StockGranted{GrantId: "g", SkuId: "tea"}),
		"AnOrderIDThatIsNone":   record(&stockv1.StockBooked{OrderId: "1; DROP TABLE orders"}),
		"AShipmentToNowhere":    record(&shipmentv1.ShipmentMoved{Shipment: &shipmentv1.Shipment{OrderId: uuid.NewString()}}),
		"AnUnknownOrder":        record(&shipmentv1.ShipmentMoved{Shipment: stranger}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := s.handled(t.Context(), listener{s.Store, s.freed, newFreed()}.handle, good, bad)
			if err == nil {
				t.Fatal("it was applied")
			}
			// The order may be on its way; nothing else here is cured by trying again, and package kafka is told so.
			var refused *order.Error
			if missing := errors.As(err, &refused) && refused.Code == order.NotFound; missing != (name == "AnUnknownOrder") {
				t.Errorf("error %v", err)
			}
			if hopeless := strings.HasPrefix(fmt.Sprintf("%T", err), "*kafka."); hopeless == (name == "AnUnknownOrder") {
				t.Errorf("the runtime is handed a %T", err)
			}
		})
	}
	t.Cleanup(func() {
		remaining, err := s.Remaining(context.Background(), []string{"tea"})
		if err != nil || remaining["tea"] != 10 {
			t.Errorf("%d teas, %v: a refused batch left something", remaining["tea"], err)
		}
	})
}

// What was freed is told after a commit, also when somebody else's commit came first.
func TestFreedIsToldAfterItsOwnCommit(t *testing.T) {
	t.Parallel()
	f := newFreed()
	f.note([]string{"tea"})
	for _, whose := range []string{"another partition's", "its own"} {
		if got := f.take(); !slices.Equal(got, []string{"tea"}) {
			t.Errorf("after %s commit: %v", whose, got)
		}
	}
}

func TestCheckerRepairsWhatItsDatabaseDoesNotKnow(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		s := open(t, db)
		c, err := newChecker(s.Store, slog.New(slog.NewTextHandler(io.Discard, nil)), noop.NewMeterProvider())
		must(t, err)
		o := s.buy(t, order.Deferred, time.Hour)
		_, _, err = s.Cancel(t.Context(), o.ID, "u", "")
		must(t, err)
		move := func(id string, version int64, to orderv1.OrderStatus) kafka.Record {
			return record(&orderv1.OrderStatusChanged{OrderId: id, Version: version, To: to})
		}
		changed, err := s.handled(t.Context(), c.handle,
			move(o.ID, 2, orderv1.OrderStatus_ORDER_STATUS_CANCELLED),
			move(o.ID, 2, orderv1.OrderStatus_ORDER_STATUS_PAID),
			record(&orderv1.RefundDue{OrderId: o.ID}),
			move(uuid.NewString(), 2, orderv1.OrderStatus_ORDER_STATUS_PAID))
		must(t, err)
		if !slices.Equal(changed, []bool{false, true, false, false}) {
			t.Errorf("changed %v", changed)
		}
		var announced int
		must(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM outbox WHERE event_id = $1`, "order/"+o.ID+"/2").Scan(&announced))
		if announced != 2 {
			t.Errorf("the true state was announced %d times, want once more", announced)
		}
		if _, err := s.handled(t.Context(), c.handle, move(o.ID, 2, orderv1.OrderStatus_ORDER_STATUS_UNSPECIFIED)); err == nil {
			t.Error("a move to no state was taken")
		}
	})
}

func TestSweeperEndsWhatIsNotPaid(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		s := open(t, db)
		due, later := s.buy(t, order.Deferred, time.Nanosecond), s.buy(t, order.Deferred, time.Hour)
		told, woken := map[string]bool{}, 0
		sweeps := sweeper{expire: s.Expire, wake: func() { woken++ }, log: slog.New(slog.NewTextHandler(io.Discard, nil)), changed: func(_ context.Context, skus ...string) {
			for _, sku := range skus {
				told[sku] = true
			}
		}}
		for end := time.Now().Add(5 * time.Second); woken == 0 && time.Now().Before(end); {
			if sweeps.sweep(t.Context()) {
				t.Error("one order is not a whole batch")
			}
		}
		for id, want := range map[string]order.Status{due.ID: order.Cancelled, later.ID: order.Created} {
			if o, err := s.Get(t.Context(), id); err != nil || o.Status != want {
				t.Errorf("order %s is %s, %v; want %s", id, o.Status, err, want)
			}
		}
		if !maps.Equal(told, map[string]bool{"tea": true}) || woken != 1 {
			t.Errorf("told of %v, woken %d times", told, woken)
		}
	})
}
