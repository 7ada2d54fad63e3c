package httpapi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	sentinel "github.com/alibaba/sentinel-golang/api"
	"github.com/alibaba/sentinel-golang/core/base"
	"github.com/alibaba/sentinel-golang/core/circuitbreaker"
	"github.com/alibaba/sentinel-golang/logging"
	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// patience is how long a person waits for another service.
const patience = 2 * time.Second

// remote is another service behind a breaker: while it is away, people are told so at once.
type remote struct {
	name     string
	resource string // of the breaker
}

// remotes are the services that answer people's questions. An order needs none of them.
type remotes struct{ inventory, points, logistics remote }

// newRemotes sets up one breaker each. Sentinel keeps rules for the whole process, so each door has resources of its own.
func newRemotes() (remotes, error) {
	quietSentinel()
	door := uuid.NewString()
	r := remotes{remote{"inventory", "inventory/" + door}, remote{"points", "points/" + door}, remote{"logistics", "logistics/" + door}}
	for _, to := range []remote{r.inventory, r.points, r.logistics} {
		rule := &circuitbreaker.Rule{
			Resource: to.resource, Strategy: circuitbreaker.ErrorRatio, Threshold: 0.5, MinRequestAmount: 5,
			StatIntervalMs: 10_000, StatSlidingWindowBucketCount: 10, RetryTimeoutMs: 1_000,
		}
		// A rule that Sentinel does not like is dropped without an error: only reading it back tells.
		_, err := circuitbreaker.LoadRulesOfResource(to.resource, []*circuitbreaker.Rule{rule})
		if err != nil || len(circuitbreaker.GetRulesOfResource(to.resource)) != 1 {
			return r, errors.Join(fmt.Errorf("the breaker for %s was not taken", to.name), err)
		}
	}
	return r, nil
}

// quietSentinel keeps Sentinel's own prints off the terminal. Its Init is not called at all: what is used here works
// without, and Init would write into the home directory and start collectors that nobody stops.
var quietSentinel = sync.OnceFunc(func() { logging.ResetGlobalLoggerLevel(logging.ErrorLevel) })

// ask calls one method of a remote service, and tells in the callers' words why there is no answer.
func ask[Q, A any](ctx context.Context, to remote, call func(context.Context, Q, ...grpc.CallOption) (A, error), question Q) (A, error) {
	var none A
	entry, blocked := sentinel.Entry(to.resource, sentinel.WithTrafficType(base.Outbound))
	if blocked != nil {
		return none, fmt.Errorf("%w: the breaker is open", away(to.name))
	}
	defer entry.Exit()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := call(ctx, question)
	if err != nil {
		if isAway(err) {
			sentinel.TraceError(entry, err)
		}
		return none, remoteError(to.name, err)
	}
	return answer, nil
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
