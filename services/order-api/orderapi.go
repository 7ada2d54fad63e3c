// Package orderapi is the only public door. It accepts orders durably and fast, keeps their lives, and tells people
// about them. Everything after an acceptance is an event: an order waits for no other service.
package orderapi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/ops"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/rpc"
	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/pkg/telemetry"
	"github.com/floodgate-dev/floodgate/proto/event"
	pointsv1 "github.com/floodgate-dev/floodgate/proto/floodgate/points/v1"
	shipmentv1 "github.com/floodgate-dev/floodgate/proto/floodgate/shipment/v1"
	stockv1 "github.com/floodgate-dev/floodgate/proto/floodgate/stock/v1"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/accept"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/admission"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/gate"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/httpapi"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/items"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/overview"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redisdb"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/shield"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/store"
)

// migrations make the service's tables.
var migrations = []database.Migrations{outbox.Migrations, kafka.Migrations, store.Migrations}

// Migrate brings the service's tables up to date.
func Migrate(ctx context.Context, cfg Config) (err error) {
	db, err := database.Open(cfg.Database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return database.Migrate(ctx, db, migrations...)
}

// Run serves until ctx ends; nil then. The operations door opens first and closes last, so that a service that waits
// for its database is seen to wait, and one that drains is seen to drain.
func Run(ctx context.Context, cfg Config) (err error) {
	tel, err := telemetry.New("order-api", cfg.Telemetry)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, flush(ctx, tel)) }()
	db, err := database.OpenObserved(cfg.Database, database.Observers{Log: tel.Log, Meter: tel.Meter, Tracer: tel.Tracer})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	run.CollectLater()
	rules, err := shield.New(cfg.Shield, shield.Observers{Log: tel.Log, Meter: tel.Meter})
	if err != nil {
		return err
	}
	defer rules.Close()
	s := &service{cfg: cfg, tel: tel, db: db, shield: rules, tables: database.NewTables(db, cfg.Database, tel.Log, migrations...)}
	sale := overview.New(overview.Config{Meters: tel.Gatherer(), Name: replica(), Log: tel.Log})
	g := cfg.Run.Group(ctx)
	g.Start("ops", func(ctx context.Context) error {
		return ops.Door{Metrics: tel.Handler(), Front: sale, Checks: []ops.Check{
			{Name: "database", Probe: db.Ready},
			{Name: "tables", Probe: s.tables.Ready},
			{Name: "events", Probe: s.eventsFlow},
			{Name: "items", Probe: s.itemsReady},
			{Name: "rules", Probe: rules.Ready},
		}}.Serve(ctx, cfg.Run.OpsAddr())
	})
	g.Start("overview", sale.Run)
	g.Start("rules", rules.Run)
	g.Start("service", s.run)
	return g.Wait()
}

// replica tells this process from its neighbours: in a cluster the host is the pod.
func replica() string {
	name, err := os.Hostname()
	if err != nil {
		return fmt.Sprint("process ", os.Getpid())
	}
	return name
}

// service is what the parts of Run share.
type service struct {
	cfg    Config
	tel    *telemetry.Telemetry
	db     *database.DB
	tables *database.Tables
	shield *shield.Shield

	events atomic.Pointer[func() error] // how the relay and the consumers are
	flowed atomic.Bool                  // they were well once
	items  atomic.Pointer[items.Cache]
}

// run wires the service by hand, top to bottom. It stops from the bottom up: the door first, the relay last, so that what
// was done at the end is announced too.
func (s *service) run(ctx context.Context) (err error) {
	if err := s.tables.Await(ctx); err != nil {
		return err
	}
	cfg, tel := s.cfg, s.tel
	books, err := store.Open(s.db)
	if err != nil {
		return err
	}
	if cfg.AcceptDelay > 0 {
		tel.Log.WarnContext(ctx, "every batch of orders waits before its COMMIT: accept_delay is for tests of overload only", "delay", cfg.AcceptDelay)
		books.DelayAccepts(cfg.AcceptDelay)
	}
	writer := kafka.NewObservedWriter(cfg.Kafka, tel.Meter, tel.Tracer)
	defer func() { err = errors.Join(err, writer.Close()) }()
	relay := outbox.NewRelay(outbox.RelayConfig{
		DB: s.db, Sender: writer, Source: "order-api", Config: cfg.Outbox, Log: tel.Log, Meter: tel.Meter,
	})
	client := redisdb.Open(cfg.Redis)
	if err := redisdb.Observe(client, tel.Meter, tel.Tracer); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	guard := redisdb.NewGuard(client, s.shield.Door(shield.Redis), cfg.Redis.Patience)
	soldOut := gate.NewSoldOut()
	keeper, err := openGate(cfg.Gate, guard, books, soldOut, tel)
	if err != nil {
		return err
	}
	shared := guard
	if len(cfg.Redis.Addrs) == 0 {
		shared = nil
	}
	catalogue, err := items.New(cfg.Items, books, shared, tel.Log, tel.Meter)
	if err != nil {
		return err
	}
	s.items.Store(catalogue)
	committer, err := accept.New(accept.Config{
		Books: books, Gate: keeper, SoldOut: soldOut, Unknown: catalogue.Unknown, Committers: cfg.Committers, Queue: cfg.Queue, Wake: relay.Wake, Log: tel.Log, Meter: tel.Meter, Tracer: tel.Tracer,
	})
	if err != nil {
		return err
	}
	listen, check, err := s.consumers(ctx, books, keeper, catalogue, relay)
	if err != nil {
		return err
	}
	s.watch(relay.Health, listen.Health, check.Health)
	conns, closeConns, err := s.dial()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeConns()) }()
	verifier, err := auth.New(ctx, cfg.Auth)
	if err != nil {
		return err
	}
	edge, err := tel.Edge()
	if err != nil {
		return err
	}
	lanes, err := admission.New(cfg.Admission, admission.Observers{Log: tel.Log, Meter: tel.Meter})
	if err != nil {
		return err
	}
	door, err := httpapi.New(httpapi.Config{
		Lanes: lanes, Shield: s.shield, Overloaded: committer.Overloaded,
		Orders: committer, Books: books, Items: catalogue, Verifier: verifier, Inventory: stockv1.NewInventoryServiceClient(conns[0]),
		Points: pointsv1.NewPointsServiceClient(conns[1]), Logistics: shipmentv1.NewLogisticsServiceClient(conns[2]),
		Freed: keeper.Changed, Wake: relay.Wake, Log: tel.Log, Edge: edge, TrustCaptured: cfg.TrustCaptured, PaymentWindow: cfg.PaymentWindow,
	})
	if err != nil {
		return err
	}

	stuck, err := newStuck(books.Stuck, tel.Log, tel.Meter)
	if err != nil {
		return err
	}
	g := run.NewGroup(ctx)
	g.Start("relay", relay.Run)
	g.Start("order-api group", s.onceTopicsExist(listen.Run))
	g.Start("order-state-check group", s.onceTopicsExist(check.Run))
	g.Start("gate", keeper.Run)
	g.Start("items", catalogue.Run)
	if cfg.Gate.Kind != gate.KindOff {
		g.Start("sold out", func(ctx context.Context) error { return soldOut.Listen(ctx, client, tel.Log) })
	}
	g.Start("sweeper", sweeper{expire: books.Expire, changed: keeper.Changed, wake: relay.Wake, log: tel.Log}.run)
	g.Start("committer", committer.Run)
	g.Start("admission", lanes.Run)
	g.Start("http", func(ctx context.Context) error { return httpapi.Serve(ctx, cfg.Run.Addr(), door) })
	g.Start("streams", door.Run)
	g.Start("stuck orders", stuck.run)
	return g.Wait()
}

// consumers are the two groups: one hears what the other services say, the other checks what this one said.
func (s *service) consumers(ctx context.Context, books *store.Store, keeper keeper, catalogue *items.Cache, relay *outbox.Relay) (listen, check *kafka.Consumer, err error) {
	checker, err := newChecker(books, s.tel.Log, s.tel.Meter)
	if err != nil {
		return nil, nil, err
	}
	freed, changed := newFreed(), newFreed()
	ctx = context.WithoutCancel(ctx) // a batch that was committed is told also while the service stops
	listen = s.consumer(event.OrderAPI, listener{books, freed, changed}.handle, func() {
		relay.Wake()
		if skus := freed.take(); len(skus) > 0 {
			keeper.Changed(ctx, skus...)
		}
		catalogue.Changed(ctx, changed.take()...)
	}, event.StockChanges, event.ShipmentChanges, event.PointsChanges)
	check = s.consumer(event.OrderStateCheck, checker.handle, relay.Wake, event.OrderStatusChanges)
	return listen, check, nil
}

func (s *service) consumer(group string, handle kafka.Handler, afterCommit func(), topics ...string) *kafka.Consumer {
	return kafka.NewConsumer(kafka.ConsumerConfig{
		Group: group, Topics: topics, Handle: handle, DB: s.db, Kafka: s.cfg.Kafka,
		Log: s.tel.Log, Meter: s.tel.Meter, Tracer: s.tel.Tracer, AfterCommit: afterCommit,
	})
}

// onceTopicsExist waits for an absent Kafka beside the door: an order needs none.
func (s *service) onceTopicsExist(consume func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := kafka.EnsureTopics(ctx, s.cfg.Kafka, event.Topics(), event.Groups()); err != nil {
			return err
		}
		return consume(ctx)
	}
}

func (s *service) itemsReady(ctx context.Context) error {
	if catalogue := s.items.Load(); catalogue != nil {
		return catalogue.Ready(ctx)
	}
	return errors.New("the cache of items has not started")
}

// keeper is a gate with all that the service does to it.
type keeper interface {
	TakeAll(ctx context.Context, orders []gate.Asking) []gate.Ticket
	GiveBack(ctx context.Context, t gate.Ticket)
	Changed(ctx context.Context, skus ...string)
	Run(ctx context.Context) error
}

func openGate(cfg gate.Config, client *redisdb.Guard, books *store.Store, soldOut *gate.SoldOut, tel *telemetry.Telemetry) (keeper, error) {
	if cfg.Kind == gate.KindOff {
		return gate.Off{SoldOut: soldOut}, nil
	}
	return gate.New(cfg.Kind, client, books, soldOut, gate.Observers{Log: tel.Log, Meter: tel.Meter})
}

func (s *service) watch(parts ...func() error) {
	probe := func() error {
		var err error
		for _, health := range parts {
			err = errors.Join(err, health())
		}
		return err
	}
	s.events.Store(&probe)
}

// eventsFlow is asked until it says yes for the first time. Later, orders are taken while Kafka is away: a replica that
// was taken out of service for it would stop the sale. Lag and the alarms on it tell of that.
func (s *service) eventsFlow(context.Context) error {
	if s.flowed.Load() {
		return nil
	}
	probe := s.events.Load()
	if probe == nil {
		return errors.New("the relay and the consumers have not started")
	}
	if err := (*probe)(); err != nil {
		return err
	}
	s.flowed.Store(true)
	return nil
}

// dial prepares the ways to the services that answer people's questions.
func (s *service) dial() (conns [3]*grpc.ClientConn, closeAll func() error, err error) {
	closeAll = func() (err error) {
		for _, c := range conns {
			if c != nil {
				err = errors.Join(err, c.Close())
			}
		}
		return err
	}
	for i, addr := range []string{s.cfg.InventoryAddr, s.cfg.PointsAddr, s.cfg.LogisticsAddr} {
		if conns[i], err = rpc.Dial(addr, s.tel); err != nil {
			return conns, closeAll, errors.Join(err, closeAll())
		}
	}
	return conns, closeAll, nil
}

// flush sends what telemetry still holds, by a clock of its own: ctx is over by then.
func flush(ctx context.Context, tel *telemetry.Telemetry) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return tel.Shutdown(ctx)
}
