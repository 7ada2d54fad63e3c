// Package grpcapi answers customers' questions about their points.
package grpcapi

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/floodgate-dev/floodgate/pkg/database"
	pointsv1 "github.com/floodgate-dev/floodgate/proto/floodgate/points/v1"
	"github.com/floodgate-dev/floodgate/services/points/internal/points"
	"github.com/floodgate-dev/floodgate/services/points/internal/store"
)

// Server is the PointsService.
type Server struct {
	pointsv1.UnimplementedPointsServiceServer
	DB *database.DB
}

// GetBalance says how many points a customer has.
func (s Server) GetBalance(ctx context.Context, r *pointsv1.GetBalanceRequest) (*pointsv1.GetBalanceResponse, error) {
	if err := points.CheckUser(r.GetUserId()); err != nil {
		return nil, fail(ctx, err)
	}
	balance, err := store.Balance(ctx, s.DB, r.GetUserId())
	if err != nil {
		return nil, fail(ctx, err)
	}
	return &pointsv1.GetBalanceResponse{BalancePoints: int64(balance)}, nil
}

// fail is the only place that turns an error into a status: of what is the caller's to mend, or worth another try. The
// rest is logged by the door, which tells callers nothing of it.
func fail(ctx context.Context, err error) error {
	var bad *points.Invalid
	switch {
	case errors.As(err, &bad):
		return invalid(bad)
	case ctx.Err() == nil && (database.Unavailable(err) || database.Retryable(err)):
		return status.Error(codes.Unavailable, "the database of points is away or busy: try again")
	}
	return err
}

func invalid(bad *points.Invalid) error {
	s := status.New(codes.InvalidArgument, bad.Error())
	detailed, err := s.WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: bad.Field, Description: bad.Message}},
	})
	if err != nil {
		return s.Err() // the sentence names the field too
	}
	return detailed.Err()
}
