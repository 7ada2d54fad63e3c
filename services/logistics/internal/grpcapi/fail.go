package grpcapi

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/logistics/internal/shipment"
	"github.com/floodgate-dev/floodgate/services/logistics/internal/store"
)

// fail is the only place that turns an error into a status: of what is the caller's to mend, or worth another try. The
// rest is logged by the door, which tells callers nothing of it.
func fail(ctx context.Context, err error) error {
	var bad *shipment.Invalid
	switch {
	case errors.As(err, &bad):
		return invalid(bad)
	case errors.Is(err, store.ErrNoShipment):
		return status.Error(codes.NotFound, store.ErrNoShipment.Error())
	case errors.Is(err, store.ErrCalledOff):
		return status.Error(codes.FailedPrecondition, store.ErrCalledOff.Error())
	case ctx.Err() == nil && (database.Unavailable(err) || database.Retryable(err)):
		return status.Error(codes.Unavailable, "the database of logistics is away or busy: try again")
	}
	return err
}

func invalid(bad *shipment.Invalid) error {
	s := status.New(codes.InvalidArgument, bad.Error())
	detailed, err := s.WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: bad.Field, Description: bad.Message}},
	})
	if err != nil {
		return s.Err() // the sentence names the field too
	}
	return detailed.Err()
}
