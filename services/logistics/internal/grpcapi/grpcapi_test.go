package grpcapi_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/rpc"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/pkg/telemetry"
	shipmentv1 "github.com/floodgate-dev/floodgate/proto/floodgate/shipment/v1"
	"github.com/floodgate-dev/floodgate/services/logistics/internal/grpcapi"
	"github.com/floodgate-dev/floodgate/services/logistics/internal/shipment"
	"github.com/floodgate-dev/floodgate/services/logistics/internal/store"
)

// setup serves db on a door of its own and returns a client of it.
func setup(t *testing.T, db *database.DB) shipmentv1.LogisticsServiceClient {
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
			shipmentv1.RegisterLogisticsServiceServer(s, grpcapi.Server{DB: db})
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
	return shipmentv1.NewLogisticsServiceClient(conn)
}

// told lets the store hear news of an order.
func told(t *testing.T, db *database.DB, order uuid.UUID, news shipment.News) {
	t.Helper()
	err := db.Tx(t.Context(), func(tx *database.Tx) error {
		_, err := store.ApplyTx(t.Context(), tx, []store.Fact{{Order: order, News: news, By: "shop"}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, err error, code codes.Code) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

func TestCarriersMoveAShipment(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		ctx, client, order := t.Context(), setup(t, db), uuid.New()
		_, err := client.GetShipment(ctx, &shipmentv1.GetShipmentRequest{OrderId: order.String()})
		wants(t, err, codes.NotFound)

		told(t, db, order, shipment.Paid)
		r, err := client.GetShipment(ctx, &shipmentv1.GetShipmentRequest{OrderId: strings.ToUpper(order.String())})
		want := &shipmentv1.Shipment{
			Id: store.ID(order), OrderId: order.String(), Status: shipmentv1.ShipmentStatus_SHIPMENT_STATUS_CREATED,
		}
		if err != nil || !proto.Equal(r.GetShipment(), want) {
			t.Fatalf("%v, %v", r, err)
		}
		want.Status, want.Carrier, want.TrackingNo = shipmentv1.ShipmentStatus_SHIPMENT_STATUS_DELIVERED, "DHL", "1"
		for range 2 {
			r, err := client.ReportCarrierNews(ctx, &shipmentv1.ReportCarrierNewsRequest{
				ShipmentId: want.GetId(), Status: want.GetStatus(), Carrier: "DHL", TrackingNo: "1", By: "operator:ann",
			})
			if err != nil || !proto.Equal(r.GetShipment(), want) {
				t.Errorf("%v, %v", r, err)
			}
		}
	})
}

func TestNewsThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	db := servertest.SQLite(t)
	client, gone := setup(t, db), uuid.New()
	told(t, db, gone, shipment.Refunded)
	for name, c := range map[string]struct {
		news *shipmentv1.ReportCarrierNewsRequest
		code codes.Code
		says string
	}{
		"CalledOff": {
			&shipmentv1.ReportCarrierNewsRequest{ShipmentId: store.ID(gone), Status: shipmentv1.ShipmentStatus_SHIPMENT_STATUS_SHIPPED},
			codes.FailedPrecondition, "called off",
		},
		"NoSuchShipment": {
			&shipmentv1.ReportCarrierNewsRequest{ShipmentId: uuid.NewString(), Status: shipmentv1.ShipmentStatus_SHIPMENT_STATUS_SHIPPED},
			codes.NotFound, "no such shipment",
		},
		"NoCarriersNews": {
			&shipmentv1.ReportCarrierNewsRequest{ShipmentId: store.ID(gone), Status: shipmentv1.ShipmentStatus_SHIPMENT_STATUS_CREATED},
			codes.InvalidArgument, "status",
		},
		"NoUUID": {
			&shipmentv1.ReportCarrierNewsRequest{ShipmentId: "1", Status: shipmentv1.ShipmentStatus_SHIPMENT_STATUS_SHIPPED},
			codes.InvalidArgument, "shipment_id",
		},
	} {
		_, err := client.ReportCarrierNews(t.Context(), c.news)
		wants(t, err, c.code)
		if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v does not say %q", name, err, c.says)
		}
	}
}
