// Package httpapi is the suite's only public door: the HTTP interface of order-api.
//
// It promises that what is said here is what callers were promised in openapi.yaml, that a stranger cannot tell a
// foreign order from one that does not exist, and that no sentence leaves it that was not written for callers.
package httpapi

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/pkg/telemetry"
	pointsv1 "github.com/floodgate-dev/floodgate/proto/floodgate/points/v1"
	shipmentv1 "github.com/floodgate-dev/floodgate/proto/floodgate/shipment/v1"
	stockv1 "github.com/floodgate-dev/floodgate/proto/floodgate/stock/v1"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/admission"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/shield"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/store"
)

// openapi is the full text of the interface.
//
//go:embed openapi.yaml
var openapi []byte

// placer accepts orders.
type placer interface {
	Place(ctx context.Context, d order.Draft) (order.Verdict, error)
}

// books keep orders and items.
type books interface {
	Get(ctx context.Context, id string) (order.Order, error)
	List(ctx context.Context, q store.Query) (page []order.Order, next string, err error)
	Hide(ctx context.Context, id string) error
	Cancel(ctx context.Context, id, by, reason string) (order.Order, map[string]int64, error)
	Pay(ctx context.Context, id, ref, by string) (order.Order, error)
	Refund(ctx context.Context, id, by, reason string) (order.Order, map[string]int64, error)
	Timeline(ctx context.Context, id string) ([]order.Entry, error)
	TimelineSince(ctx context.Context, after map[string]int64) ([]order.Entry, error)
	Items(ctx context.Context, limit int, cursor string) (page []order.CatalogueItem, next string, err error)
}

// catalogue answers what an item is.
type catalogue interface {
	Item(ctx context.Context, sku string) (order.CatalogueItem, error)
}

// verifier believes tokens, or not.
type verifier interface {
	Verify(ctx context.Context, token string) (auth.Caller, error)
}

// Config is what the door stands on.
type Config struct {
	Orders   placer
	Books    books
	Items    catalogue
	Verifier verifier

	// Lanes bound what is under way, Shield keeps out what rules keep out.
	Lanes  *admission.Lanes
	Shield *shield.Shield
	// Overloaded is told of an order that was turned away for want of room.
	Overloaded func(ctx context.Context)

	Inventory stockv1.InventoryServiceClient
	Points    pointsv1.PointsServiceClient
	Logistics shipmentv1.LogisticsServiceClient

	// Freed is told which skus can be sold again, after the commit that freed them.
	Freed func(ctx context.Context, skus ...string)
	// Wake is called after a commit that wrote events.
	Wake func()
	Log  *slog.Logger
	Edge *telemetry.Edge // nil where nobody looks

	TrustCaptured bool          // a customer may say that the money is in
	PaymentWindow time.Duration // how long a deferred order waits for its money
}

// Server is the door, an http.Handler. Its streams are fed by Run and end with it: who stops Run first need not wait for
// them when the door closes.
type Server struct {
	Config
	remotes remotes
	doors   map[route]*shield.Door
	streams *streams
	edge    *telemetry.Edge
	handler http.Handler
}

// New builds the door. It fails only when meters cannot be set up.
func New(cfg Config) (_ *Server, err error) {
	if cfg.Edge == nil {
		if cfg.Edge, err = telemetry.Discard().Edge(); err != nil {
			return nil, err
		}
	}
	s := &Server{
		Config: cfg, remotes: newRemotes(cfg.Shield), doors: doorsOf(cfg.Shield), edge: cfg.Edge,
		streams: newStreams(cfg.Books.TimelineSince, cfg.Log),
	}
	s.handler = s.routes()
	return s, nil
}

// Serve opens the door at addr until ctx ends; nil then. Answers under way are finished.
func Serve(ctx context.Context, addr string, door http.Handler) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("http door: %w", err)
	}
	srv := &http.Server{
		Handler: door, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
	}
	if err := run.ServeHTTP(ctx, listener, srv, grace); err != nil {
		return fmt.Errorf("http door: %w", err)
	}
	return nil
}

// grace is for answers under way at the end.
const grace = 10 * time.Second

// Run feeds the streams until ctx ends, and then ends them; nil then.
func (s *Server) Run(ctx context.Context) error { return s.streams.run(ctx) }

// router has no routes yet, and nothing in front of them.
func router() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.HandleMethodNotAllowed = true
	e.RedirectTrailingSlash = false
	e.ContextWithFallback = true
	_ = e.SetTrustedProxies(nil) // nil cannot be malformed
	return e
}

func (s *Server) routes() http.Handler {
	e := router()
	e.Use(s.requestID, s.observe, s.recover, s.accessLog)
	e.NoRoute(func(c *gin.Context) { s.fail(c, errNoRoute) })
	e.NoMethod(func(c *gin.Context) { s.fail(c, errMethod) })
	e.GET("/openapi.yaml", func(c *gin.Context) { c.Data(http.StatusOK, "application/yaml", openapi) })

	api := e.Group("/api/v1", s.authenticate, s.guard)
	api.POST("/orders", s.place)
	api.GET("/orders", s.list)
	api.GET("/items", s.items)
	api.GET("/items/:sku", s.item)
	api.GET("/me/points", s.myPoints)

	own := api.Group("/orders/:id", s.findOrder)
	own.GET("", s.show)
	own.POST("/pay", s.pay)
	own.POST("/cancel", s.cancel)
	own.DELETE("", s.hide)
	own.GET("/timeline", s.timeline)
	own.GET("/events", s.events)
	own.GET("/shipment", s.shipment)
	own.POST("/refund", s.only(roleShop), s.refund)

	api.GET("/users/:id/points", s.only(roleShop), s.pointsOf)

	operate := api.Group("", s.only(roleOperator))
	operate.PUT("/items/:sku", s.putItem)
	operate.DELETE("/items/:sku", s.retireItem)
	operate.POST("/items/:sku/stock", s.changeStock)
	operate.POST("/shipments/:id/events", s.carrierNews)
	return e
}
