package httpapi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/shield"
)

// patience is how long a person waits for another service.
const patience = 2 * time.Second

// remote is another service behind its breakers: while it is away, people are told so at once.
type remote struct {
	name string
	door *shield.Door
}

// remotes are the services that answer people's questions. An order needs none of them.
type remotes struct{ inventory, points, logistics remote }

func newRemotes(s *shield.Shield) remotes {
	return remotes{
		remote{"inventory", s.Door(shield.Inventory)}, remote{"points", s.Door(shield.Points)}, remote{"logistics", s.Door(shield.Logistics)},
	}
}

// ask calls one method of a remote service, and tells in the callers' words why there is no answer.
func ask[Q, A any](ctx context.Context, to remote, call func(context.Context, Q, ...grpc.CallOption) (A, error), question Q) (answer A, err error) {
	pass, err := to.door.Enter(ctx)
	if err != nil {
		return answer, notAsked(to.name, err)
	}
	failed := errFailed // unless it comes to an end
	defer func() { pass.Leave(failed) }()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err = call(ctx, question)
	failed = nil
	if err != nil && isAway(err) {
		failed = err
	}
	if err != nil {
		var none A
		return none, remoteError(to.name, err)
	}
	return answer, nil
}

// notAsked is what a caller is told when the rules keep the question from the service.
func notAsked(service string, err error) error {
	var b *shield.Blocked
	if errors.As(err, &b) && b.Flow {
		return keptOut(err)
	}
	return fmt.Errorf("%w: %w", away(service), err)
}

// isAway says that the service gave no answer. A refusal is an answer, and a caller who went away proves nothing.
func isAway(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Internal, codes.Unknown:
		return true
	default:
		return false
	}
}

// remoteError is another service's refusal in the words of this interface.
func remoteError(service string, err error) error {
	said := status.Convert(err)
	switch said.Code() {
	case codes.NotFound:
		return &order.Error{Code: order.NotFound, Message: said.Message()}
	case codes.InvalidArgument:
		return invalidArgument(said)
	case codes.AlreadyExists:
		return &order.Error{Code: order.KeyReused, Message: said.Message()}
	case codes.FailedPrecondition:
		return &order.Error{Code: order.IllegalMove, Message: said.Message()}
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Canceled:
		return fmt.Errorf("%w: %w", away(service), err)
	default:
		return fmt.Errorf("ask %s: %w", service, err)
	}
}

// invalidArgument names the fields as callers wrote them.
func invalidArgument(said *status.Status) *order.Error {
	refusal := &order.Error{Code: order.InvalidRequest, Message: "the request is not valid"}
	for _, detail := range said.Details() {
		bad, _ := detail.(*errdetails.BadRequest)
		for _, v := range bad.GetFieldViolations() {
			refusal.Fields = append(refusal.Fields, order.Field{Field: camel(v.GetField()), Message: v.GetDescription()})
		}
	}
	if len(refusal.Fields) == 0 {
		refusal.Message = said.Message()
	}
	return refusal
}

// camel is a field's name in JSON: unit_price_cents is unitPriceCents there.
func camel(snake string) string {
	if snake == "units_delta" {
		return "units"
	}
	words := strings.Split(snake, "_")
	for i, word := range words[1:] {
		if word != "" {
			words[i+1] = strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return strings.Join(words, "")
}
