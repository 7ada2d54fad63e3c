package accept_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/accept"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/gate"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redistest"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/store"
)

// shop is a database with one sku for sale and a Redis, both the test's own, and the replicas that sell from them.
type shop struct {
	dsn      string
	db       *database.DB
	store    *store.Store
	redis    *redistest.Server
	replicas []*replica
}

// replica is what one process of order-api has in its accept path.
type replica struct {
	*accept.Committer
	gate sellingGate
}

type sellingGate interface {
	TakeAll(ctx context.Context, orders []gate.Asking) []gate.Ticket
	GiveBack(ctx context.Context, t gate.Ticket)
	Changed(ctx context.Context, skus ...string)
	Run(ctx context.Context) error
}

func open(t testing.TB, units int64) *shop {
	t.Helper()
	s := &shop{dsn: servertest.PostgresDSN(t), redis: redistest.New(t)}
	s.db = servertest.Open(t, s.dsn)
	must(t, database.Migrate(t.Context(), s.db, store.Migrations, outbox.Migrations))
	var err error
	s.store, err = store.Open(s.db)
	must(t, err)
	must(t, s.db.Tx(t.Context(), func(tx *database.Tx) error {
		_, err := s.store.ApplyTx(t.Context(), tx, []order.Fact{
			{Kind: order.ItemListed, Item: order.CatalogueItem{SkuID: "vase", Name: "Vase", UnitPriceCents: 100, Currency: "EUR", Version: 1}},
			{Kind: order.UnitsGranted, Grant: order.Grant{ID: "first", SkuID: "vase", Units: units}},
		})
		return err
	}))
	return s
}

// replica adds one that reaches the database at dsn and runs until the test ends.
func (s *shop) replica(t *testing.T, kind, dsn string) *replica {
	t.Helper()
	db := servertest.Open(t, dsn)
	truth, err := store.Open(db)
	must(t, err)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	r := &replica{gate: gate.Off{}}
	if kind == gate.KindLua {
		cfg := redistest.Hurried(s.redis.Addr)
		r.gate, err = gate.New(gate.KindLua, redistest.Guard(t, redistest.Open(t, cfg), cfg), truth, gate.NewSoldOut(), gate.Observers{Log: log, Meter: noop.NewMeterProvider()})
		must(t, err)
	}
	r.Committer, err = accept.New(accept.Config{
		Books: truth, Gate: r.gate, SoldOut: gate.NewSoldOut(), Committers: 4, Queue: 4096, Wake: func() {}, Log: log, Meter: noop.NewMeterProvider(),
	})
	must(t, err)
	run(t, r.gate.Run)
	run(t, r.Run)
	s.replicas = append(s.replicas, r)
	return r
}

func run(t testing.TB, part func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- part(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func draft(user string) order.Draft {
	return order.Draft{
		ID: uuid.Must(uuid.NewV7()).String(), UserID: user, Lines: []order.Line{{SkuID: "vase", Quantity: 1}},
		Payment: order.Deferred, Window: time.Hour, By: user,
	}
}

func keyed(user, key string) order.Draft {
	d := draft(user)
	d.Key, d.Fingerprint = key, d.Print()
	return d
}

func soldOut(v order.Verdict) bool {
	var refusal *order.Error
	return errors.As(v.Err, &refusal) && refusal.Code == order.SoldOut
}

// crowd has buyers want one unit each, all at once over all replicas, and counts who got one.
func (s *shop) crowd(t *testing.T, buyers int) (sold, refused int64) {
	t.Helper()
	var yes, no atomic.Int64
	var wg sync.WaitGroup
	for i := range buyers {
		wg.Go(func() {
			v, err := s.replicas[i%len(s.replicas)].Place(t.Context(), draft(fmt.Sprint("buyer ", i)))
			switch {
			case err != nil:
				t.Errorf("buyer %d: %v", i, err)
			case v.Accepted():
				yes.Add(1)
			case soldOut(v):
				no.Add(1)
			default:
				t.Errorf("buyer %d: %v", i, v.Err)
			}
		})
	}
	wg.Wait()
	return yes.Load(), no.Load()
}

// wantSold checks the database: so many orders, and nothing else taken from the allotment.
func (s *shop) wantSold(t *testing.T, orders, remaining int64) {
	t.Helper()
	var live, left, granted int64
	must(t, s.db.QueryRowContext(context.Background(), `SELECT
		(SELECT COALESCE(SUM(i.quantity), 0) FROM order_items i JOIN orders o ON o.id = i.order_id WHERE o.live),
		remaining, granted - revoked + owed FROM allotments WHERE sku_id = 'vase'`).Scan(&live, &left, &granted))
	if live != orders || left != remaining || granted != live+left {
		t.Errorf("sold %d, left %d of %d; want %d and %d", live, left, granted, orders, remaining)
	}
}

func TestTwoThousandBuyersForAHundredUnits(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{gate.KindLua, gate.KindOff} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			for range servertest.Rounds(1) {
				s := open(t, 100)
				s.replica(t, kind, s.dsn)
				s.replica(t, kind, s.dsn)
				sold, refused := s.crowd(t, 2000)
				if sold != 100 || refused != 1900 {
					t.Errorf("sold %d and refused %d, want 100 and 1900", sold, refused)
				}
				s.wantSold(t, 100, 0)
			}
		})
	}
}

func TestAHundredRequestsWithOneKeyAreOneOrder(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{gate.KindLua, gate.KindOff} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := open(t, 1)
			s.replica(t, kind, s.dsn)
			s.replica(t, kind, s.dsn)
			for round := range servertest.Rounds(5) {
				key := fmt.Sprint("key ", round)
				var mu sync.Mutex
				ids := map[string]int{}
				first := 0
				var wg sync.WaitGroup
				for i := range 100 {
					wg.Go(func() {
						v, err := s.replicas[i%2].Place(t.Context(), keyed("buyer", key))
						mu.Lock()
						defer mu.Unlock()
						if err == nil && soldOut(v) && round > 0 {
							return // the only unit went under another key
						}
						if err != nil || v.Err != nil {
							t.Errorf("request %d: %v, %v", i, err, v.Err)
						}
						ids[v.Order.ID]++
						if v.Accepted() {
							first++
						}
					})
				}
				wg.Wait()
				if round == 0 && (len(ids) != 1 || first != 1) {
					t.Errorf("%d orders, %d of them new; want 1 and 1", len(ids), first)
				}
			}
			s.wantSold(t, 1, 0)
		})
	}
}

// sale lets one buyer after the other come until all units are sold, and meddles with Redis meanwhile.
func sale(t *testing.T, units int64, meddle func(s *shop, redis *redis.Client)) {
	t.Helper()
	s := open(t, units)
	s.replica(t, gate.KindLua, s.dsn)
	s.replica(t, gate.KindLua, s.dsn)
	client := s.redis.Client()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var sold atomic.Int64
	var wg sync.WaitGroup
	for buyer := range 16 {
		wg.Go(func() {
			for sold.Load() < units && ctx.Err() == nil {
				v, err := s.replicas[buyer%2].Place(ctx, draft(fmt.Sprint("buyer ", buyer)))
				if err != nil {
					t.Errorf("an order failed: %v", err)
					return
				}
				if v.Accepted() {
					sold.Add(1)
				} else {
					<-time.After(rand.N(10 * time.Millisecond)) // refused: come again
				}
			}
		})
	}
	for end := time.Now().Add(30 * time.Second); sold.Load() < units/4; {
		if time.Now().After(end) {
			t.Fatal("the sale does not start")
		}
		<-time.After(time.Millisecond)
	}
	before := sold.Load()
	meddle(s, client)
	wg.Wait()
	if sold.Load() != units || before >= units*3/4 {
		t.Errorf("sold %d of %d, %d of them before the fault", sold.Load(), units, before)
	}
	s.wantSold(t, units, 0)
}

func TestASaleGoesOnWhateverBecomesOfRedis(t *testing.T) {
	t.Parallel()
	const units = 800
	for name, meddle := range map[string]func(*shop, *redis.Client){
		"Wiped": func(_ *shop, r *redis.Client) {
			for range 20 {
				must(t, r.FlushAll(context.Background()).Err())
				<-time.After(20 * time.Millisecond)
			}
		},
		"StoppedAndStarted": func(s *shop, _ *redis.Client) {
			s.redis.Stop()
			<-time.After(300 * time.Millisecond)
			s.redis.Start()
		},
		"Frozen": func(s *shop, _ *redis.Client) {
			s.redis.Freeze()
			<-time.After(300 * time.Millisecond)
			s.redis.Thaw()
		},
		"AnOldDumpWithTooManyUnits": func(_ *shop, r *redis.Client) {
			must(t, r.Set(context.Background(), "stock:{vase}", units*10, 0).Err())
		},
		"AnOldDumpWithTooFewUnits": func(_ *shop, r *redis.Client) {
			must(t, r.Set(context.Background(), "stock:{vase}", 0, 0).Err())
		},
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); sale(t, units, meddle) })
	}
}

// A process that died between the gate and the commit took units that nobody bought. They are for sale again soon.
func TestUnitsOfADeadProcessAreSoldAgain(t *testing.T) {
	t.Parallel()
	s := open(t, 20)
	alive := s.replica(t, gate.KindLua, s.dsn)
	for i := range 20 {
		alive.gate.TakeAll(t.Context(), []gate.Asking{{Op: fmt.Sprint("its process died ", i), Lines: draft("ghost").Lines}})
	}
	if v, err := alive.Place(t.Context(), draft("too early")); err != nil || !soldOut(v) {
		t.Fatalf("the gate holds nothing back: %+v, %v", v, err)
	}
	began := time.Now()
	for sold := 0; sold < 20; {
		v, err := alive.Place(t.Context(), draft("buyer"))
		must(t, err)
		if v.Accepted() {
			sold++
		}
		if time.Since(began) > 60*time.Second {
			t.Fatalf("sold %d of 20 after a minute", sold)
		}
		<-time.After(10 * time.Millisecond)
	}
	s.wantSold(t, 20, 0)
}

// A key is answered with its order when the gate has nothing left, on any replica.
func TestAKeyIsAnsweredWhenItIsSoldOut(t *testing.T) {
	t.Parallel()
	s := open(t, 2)
	one, other := s.replica(t, gate.KindLua, s.dsn), s.replica(t, gate.KindLua, s.dsn)
	first, err := one.Place(t.Context(), keyed("buyer", "k"))
	must(t, err)
	if v, err := other.Place(t.Context(), draft("another")); err != nil || !v.Accepted() {
		t.Fatalf("the second unit: %+v, %v", v, err)
	}
	must(t, s.redis.Client().FlushAll(t.Context()).Err()) // also the gate's memory of the key
	again, err := other.Place(t.Context(), keyed("buyer", "k"))
	if err != nil || !again.Replayed || again.Order.ID != first.Order.ID {
		t.Errorf("again: %+v, %v", again, err)
	}
	changed := keyed("buyer", "k")
	changed.Fingerprint = "of another body"
	var refusal *order.Error
	if v, err := other.Place(t.Context(), changed); err != nil || !errors.As(v.Err, &refusal) || refusal.Code != order.KeyReused {
		t.Errorf("another body: %+v, %v", v, err)
	}
	s.wantSold(t, 2, 0)
}

// The answer to COMMIT is cut off: the order stands and the committer does not know. It must end in one order, whether
// the committer finds out itself or the buyer comes again.
func TestALostCommitIsOneOrder(t *testing.T) {
	t.Parallel()
	for round := range servertest.Rounds(3) {
		s := open(t, 10)
		cut := cutCommits(t, s.dsn)
		r := s.replica(t, gate.KindLua, cut.dsn)
		if v, err := r.Place(t.Context(), draft("before")); err != nil || !v.Accepted() {
			t.Fatalf("before: %+v, %v", v, err)
		}
		cut.next.Store(true)
		first, err := r.Place(t.Context(), keyed("buyer", "k"))
		if err != nil || !first.Accepted() {
			t.Fatalf("round %d: %+v, %v", round, first, err)
		}
		if cut.next.Load() {
			t.Fatal("no commit was cut off")
		}
		again, err := r.Place(t.Context(), keyed("buyer", "k"))
		if err != nil || !again.Replayed || again.Order.ID != first.Order.ID {
			t.Errorf("round %d: again %+v, %v", round, again, err)
		}
		s.wantSold(t, 2, 8)
	}
}

// While the database is away orders are refused as such, whether nothing of it answers or a COMMIT hangs in the air;
// when it is back they are taken again and nobody restarts anything.
func TestOrdersAreTakenAgainWhenTheDatabaseIsBack(t *testing.T) {
	t.Parallel()
	s := open(t, 10)
	u, err := url.Parse(s.dsn)
	must(t, err)
	link := servertest.Proxy(t, u.Host)
	u.Host = link.Addr
	r := s.replica(t, gate.KindLua, u.String())
	if v, err := r.Place(t.Context(), draft("before")); err != nil || !v.Accepted() {
		t.Fatalf("before: %+v, %v", v, err)
	}
	link.Cut()
	for i := range 20 {
		if _, err := r.Place(t.Context(), draft(fmt.Sprint("away ", i))); !errors.Is(err, accept.ErrUnavailable) {
			t.Fatalf("away: %v", err)
		}
	}
	link.Restore()
	sold := 0
	for end := time.Now().Add(30 * time.Second); sold < 9 && time.Now().Before(end); {
		if v, err := r.Place(t.Context(), draft("after")); err == nil && v.Accepted() {
			sold++
		}
	}
	s.wantSold(t, 10, 0)
}
