package grpcapi_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/rpc"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/pkg/telemetry"
	pointsv1 "github.com/floodgate-dev/floodgate/proto/floodgate/points/v1"
	"github.com/floodgate-dev/floodgate/services/points/internal/grpcapi"
	"github.com/floodgate-dev/floodgate/services/points/internal/points"
	"github.com/floodgate-dev/floodgate/services/points/internal/store"
)

// setup serves db on a door of its own and returns a client of it.
func setup(t *testing.T, db *database.DB) pointsv1.PointsServiceClient {
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
			pointsv1.RegisterPointsServiceServer(s, grpcapi.Server{DB: db})
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
	return pointsv1.NewPointsServiceClient(conn)
}

func TestABalanceIsAnswered(t *testing.T) {
	t.Parallel()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) {
		t.Helper()
		ctx, client := t.Context(), setup(t, db)
		err := db.Tx(ctx, func(tx *database.Tx) error {
			order := points.Order{ID: "0190e2a4-0000-7000-8000-000000000001", User: "u-1", Total: 1234}
			_, err := store.ApplyTx(ctx, tx, []store.Fact{{Order: order, News: points.Paid}})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for user, want := range map[string]int64{"u-1": 12, "never-bought": 0} {
			if r, err := client.GetBalance(ctx, &pointsv1.GetBalanceRequest{UserId: user}); err != nil || r.GetBalancePoints() != want {
				t.Errorf("%s: %v, %v, want %d", user, r, err, want)
			}
		}
	})
}

func TestABadUserIsNamed(t *testing.T) {
	t.Parallel()
	client := setup(t, servertest.SQLite(t))
	for _, user := range []string{"", "u\x00", strings.Repeat("u", 256)} {
		_, err := client.GetBalance(t.Context(), &pointsv1.GetBalanceRequest{UserId: user})
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "user_id") {
			t.Errorf("%q: %v", user, err)
		}
	}
}

func TestADatabaseThatIsAwayIsNotTheCallersFault(t *testing.T) {
	t.Parallel()
	db := servertest.Open(t, "postgres://floodgate@127.0.0.1:1/nowhere?sslmode=disable")
	_, err := grpcapi.Server{DB: db}.GetBalance(t.Context(), &pointsv1.GetBalanceRequest{UserId: "u-1"})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
}
