package grpcapi_test

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/rpc"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/pkg/telemetry"
	stockv1 "github.com/floodgate-dev/floodgate/proto/floodgate/stock/v1"
	"github.com/floodgate-dev/floodgate/services/inventory/internal/grpcapi"
	"github.com/floodgate-dev/floodgate/services/inventory/internal/store"
)

// setup serves db on a door of its own and returns a client of it.
func setup(t *testing.T, db *database.DB) stockv1.InventoryServiceClient {
	t.Helper()
	if err := database.Migrate(t.Context(), db, outbox.Migrations, store.Migrations); err != nil {
		t.Fatal(err)
	}
	door, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- rpc.ServeOn(ctx, door, telemetry.Discard(), func(s *grpc.Server) {
			stockv1.RegisterInventoryServiceServer(s, grpcapi.Server{DB: db})
		})
	}()
	conn, err := rpc.Dial(door.Addr().String(), telemetry.Discard())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return stockv1.NewInventoryServiceClient(conn)
}

func tea() *stockv1.PutItemRequest {
	return &stockv1.PutItemRequest{SkuId: "tea", Name: "Tea", UnitPriceCents: 450, Currency: "EUR", By: "operator:ann"}
}

func wants(t *testing.T, err error, code codes.Code) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

func TestAnItemsLife(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		ctx, client := t.Context(), setup(t, db)
		for range 2 {
			if r, err := client.PutItem(ctx, tea()); err != nil || r.GetVersion() != 1 {
				t.Fatalf("%v, %v", r, err)
			}
		}
		for range 2 {
			r, err := client.ChangeStock(ctx, &stockv1.ChangeStockRequest{SkuId: "tea", UnitsDelta: 7, Reason: "delivery", RequestId: "r-1"})
			want := &stockv1.Stock{SkuId: "tea", OnHandUnits: 7, GrantedUnsoldUnits: 7}
			if err != nil || !proto.Equal(r.GetStock(), want) {
				t.Fatalf("%v, %v", r, err)
			}
		}
		if r, err := client.GetStock(ctx, &stockv1.GetStockRequest{SkuId: "tea"}); err != nil || r.GetStock().GetOnHandUnits() != 7 {
			t.Errorf("%v, %v", r, err)
		}
		for range 2 {
			if r, err := client.RetireItem(ctx, &stockv1.RetireItemRequest{SkuId: "tea"}); err != nil || r.GetVersion() != 2 {
				t.Fatalf("%v, %v", r, err)
			}
		}
		_, err := client.ChangeStock(ctx, &stockv1.ChangeStockRequest{SkuId: "tea", UnitsDelta: 8, RequestId: "r-1"})
		wants(t, err, codes.AlreadyExists)
		_, err = client.ChangeStock(ctx, &stockv1.ChangeStockRequest{SkuId: "tea", UnitsDelta: -8, RequestId: "r-2"})
		wants(t, err, codes.FailedPrecondition)
		_, err = client.ChangeStock(ctx, &stockv1.ChangeStockRequest{SkuId: "mug", UnitsDelta: 1, RequestId: "r-1"})
		wants(t, err, codes.NotFound)
		_, err = client.RetireItem(ctx, &stockv1.RetireItemRequest{SkuId: "mug"})
		wants(t, err, codes.NotFound)
		_, err = client.GetStock(ctx, &stockv1.GetStockRequest{SkuId: "mug"})
		wants(t, err, codes.NotFound)
	})
}

func TestBadFieldsAreNamed(t *testing.T) {
	t.Parallel()
	ctx, client := t.Context(), setup(t, servertest.SQLite(t))
	dear := tea()
	dear.UnitPriceCents = -1
	for field, call := range map[string]func() error{
		"unit_price_cents": func() error { _, err := client.PutItem(ctx, dear); return err },
		"sku_id":           func() error { _, err := client.RetireItem(ctx, &stockv1.RetireItemRequest{}); return err },
		"request_id": func() error {
			_, err := client.ChangeStock(ctx, &stockv1.ChangeStockRequest{SkuId: "tea", UnitsDelta: 1})
			return err
		},
	} {
		err := call()
		wants(t, err, codes.InvalidArgument)
		var named []string
		for _, detail := range status.Convert(err).Details() {
			if bad, is := detail.(*errdetails.BadRequest); is {
				named = append(named, bad.GetFieldViolations()[0].GetField())
			}
		}
		if len(named) != 1 || named[0] != field {
			t.Errorf("named %v, want %s", named, field)
		}
	}
}

// A caller's deadline ends the wait for a row that somebody else holds, and nothing of the call stands.
func TestADeadlineIsKept(t *testing.T) {
	t.Parallel()
	db := servertest.Postgres(t)
	client := setup(t, db)
	if _, err := client.PutItem(t.Context(), tea()); err != nil {
		t.Fatal(err)
	}
	holder, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback() }()
	if _, err := holder.ExecContext(t.Context(), "SELECT sku FROM stock FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = client.ChangeStock(ctx, &stockv1.ChangeStockRequest{SkuId: "tea", UnitsDelta: 1, RequestId: "r-1"})
	wants(t, err, codes.DeadlineExceeded)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
	if err := holder.Rollback(); err != nil {
		t.Fatal(err)
	}
	// The row's lock orders this after whatever the first call could still have done.
	r, err := client.ChangeStock(t.Context(), &stockv1.ChangeStockRequest{SkuId: "tea", UnitsDelta: 5, RequestId: "r-2"})
	if err != nil || r.GetStock().GetOnHandUnits() != 5 {
		t.Errorf("%v, %v", r, err)
	}
}
