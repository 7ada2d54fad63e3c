package rpc

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/floodgate-dev/floodgate/pkg/telemetry"
)

const (
	ping     = 20 * time.Second // how often an idle connection is tried
	answered = 5 * time.Second  // how long it may take to answer
	asked    = 2 * time.Second  // of a call without a deadline
)

// Dial prepares a connection to addr; it connects when first used, and again by itself. The caller closes it. It is not
// encrypted unless more brings transport credentials.
func Dial(addr string, tel *telemetry.Telemetry, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	wait := backoff.DefaultConfig
	wait.BaseDelay, wait.MaxDelay = 100*time.Millisecond, time.Second // a service that is back is found at once
	conn, err := grpc.NewClient(addr, append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler(observed(tel)...)),
		grpc.WithChainUnaryInterceptor(bounded),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: ping, Timeout: answered, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: wait, MinConnectTimeout: asked}),
	}, more...)...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	return conn, nil
}

// bounded gives a call a deadline if its caller set none: nobody waits for ever.
func bounded(ctx context.Context, method string, in, out any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if _, set := ctx.Deadline(); !set {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, asked)
		defer cancel()
	}
	return call(ctx, method, in, out, conn, opts...)
}
