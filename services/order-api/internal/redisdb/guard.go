package redisdb

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/shield"
)

// Guard is a client with breakers before it, so that a Redis which is away or frozen costs a few requests their patience
// and not all of them.
type Guard struct {
	redis.UniversalClient

	door     *shield.Door
	patience time.Duration
}

// NewGuard guards client, which it does not close, with the breakers of door; no visit takes longer than patience.
func NewGuard(client redis.UniversalClient, door *shield.Door, patience time.Duration) *Guard {
	return &Guard{client, door, patience}
}

// Visit runs f against Redis, unless Redis was away a moment ago. A caller who left must not count as Redis's failure, nor
// cut off a script that may already have run; so f's context knows its patience only.
func Visit[T any](ctx context.Context, g *Guard, f func(ctx context.Context) (T, error)) (answer T, err error) {
	pass, err := g.door.Enter(ctx)
	if err != nil {
		return answer, err
	}
	defer func() { pass.Leave(failure(err)) }()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.patience)
	defer cancel()
	return f(ctx)
}

// failure is err if Redis did not do what it was asked.
func failure(err error) error {
	if errorType(err) == "" {
		return nil
	}
	return err
}
