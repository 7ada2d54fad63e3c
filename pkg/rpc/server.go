// Package rpc opens gRPC doors and dials them.
//
// It promises that every call is observed and ends in bounded time, that a panic costs one call and not the process,
// and that a caller never reads an error which was not written for callers.
package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/pkg/telemetry"
)

const (
	deadline = 10 * time.Second // of a call whose caller set none
	grace    = 5 * time.Second  // for calls under way at the end
)

// Serve answers on addr until ctx ends; nil then. Calls under way are finished, for a bounded time. register adds the
// services; the standard health service is there already.
func Serve(ctx context.Context, addr string, tel *telemetry.Telemetry, register func(*grpc.Server)) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("grpc door: %w", err)
	}
	return ServeOn(ctx, listener, tel, register)
}

// ServeOn is Serve on a listener that is open already.
func ServeOn(ctx context.Context, listener net.Listener, tel *telemetry.Telemetry, register func(*grpc.Server)) error {
	srv := grpc.NewServer(
		grpc.StatsHandler(otelgrpc.NewServerHandler(observed(tel)...)),
		grpc.ChainUnaryInterceptor(unary(tel.Log)),
		grpc.ChainStreamInterceptor(stream(tel.Log)),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: ping / 2, PermitWithoutStream: true}),
	)
	alive := health.NewServer()
	healthpb.RegisterHealthServer(srv, alive)
	register(srv)

	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("grpc door: %w", err)
	case <-run.Draining(ctx):
	case <-ctx.Done():
	}
	alive.Shutdown() // callers who watch go elsewhere before the door closes
	select {
	case err := <-ended:
		return fmt.Errorf("grpc door: %w", err)
	case <-ctx.Done():
	}
	late := time.AfterFunc(grace, srv.Stop)
	defer late.Stop()
	srv.GracefulStop()
	return <-ended
}

func observed(tel *telemetry.Telemetry) []otelgrpc.Option {
	return []otelgrpc.Option{
		otelgrpc.WithTracerProvider(tel.Tracer),
		otelgrpc.WithMeterProvider(tel.Meter),
		otelgrpc.WithPropagators(propagation.TraceContext{}),
	}
}

func unary(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, in any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (out any, err error) {
		if _, set := ctx.Deadline(); !set {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, deadline)
			defer cancel()
		}
		defer func() { err = settle(ctx, log, info.FullMethod, recover(), err) }()
		return handle(ctx, in)
	}
}

func stream(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
		defer func() { err = settle(s.Context(), log, info.FullMethod, recover(), err) }()
		return handle(srv, s)
	}
}

// settle turns the end of a call into what the caller may read, and logs what they may not.
func settle(ctx context.Context, log *slog.Logger, method string, panicked any, err error) error {
	if panicked != nil {
		log.ErrorContext(ctx, "call panicked", "method", method, "panic", panicked, "stack", string(debug.Stack()))
		return status.Error(codes.Internal, "internal error")
	}
	if err == nil {
		return nil
	}
	if _, written := status.FromError(err); written {
		log.DebugContext(ctx, "call refused", "method", method, "code", status.Code(err), "err", err)
		return err
	}
	if ctx.Err() != nil {
		log.DebugContext(ctx, "call ran out of time", "method", method, "err", err)
		return status.FromContextError(ctx.Err()).Err()
	}
	log.ErrorContext(ctx, "call failed", "method", method, "err", err)
	return status.Error(codes.Internal, "internal error")
}
