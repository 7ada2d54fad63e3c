package redisdb

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// silence is how long a channel may be quiet before the connection is asked whether it still stands.
	silence = time.Second
	// again is the pause before a lost connection is made anew.
	again = 500 * time.Millisecond
)

// Listener hears what is published on a channel. Nothing is heard between Lost and Connected: what was known before may be
// old by then.
type Listener struct {
	Connected func()
	Lost      func(err error)
	Heard     func(payload string)
}

// Listen listens on channel until ctx ends. A connection that died without a word is noticed within two silences.
func Listen(ctx context.Context, client redis.UniversalClient, channel string, l Listener) {
	for ctx.Err() == nil {
		err := listenOnce(ctx, client, channel, l)
		if ctx.Err() != nil {
			return
		}
		l.Lost(err)
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

var errSilent = errors.New("the connection answers no ping")

func listenOnce(ctx context.Context, client redis.UniversalClient, channel string, l Listener) error {
	heard := client.Subscribe(ctx, channel)
	defer func() { _ = heard.Close() }()
	defer context.AfterFunc(ctx, func() { _ = heard.Close() })() // a read does not look at ctx
	asked := false
	for {
		message, err := heard.ReceiveTimeout(ctx, silence)
		var late net.Error
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &late) && late.Timeout() && !asked:
			asked = true
			if err := heard.Ping(ctx); err != nil {
				return err
			}
			continue
		case errors.As(err, &late) && late.Timeout():
			return errSilent
		case err != nil:
			return err
		}
		asked = false
		switch message := message.(type) {
		case *redis.Subscription:
			l.Connected()
		case *redis.Message:
			l.Heard(message.Payload)
		}
	}
}
