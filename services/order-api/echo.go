package orderapi

import (
	"context"
	"errors"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/ops"
	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/pkg/telemetry"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/httpapi"
)

// Echo serves httpapi.Echo with the telemetry and the doors of Run until ctx ends: what `make bench` compares with.
func Echo(ctx context.Context, cfg Config, bare bool) (err error) {
	tel, err := telemetry.New("order-api", cfg.Telemetry)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, flush(ctx, tel)) }()
	verifier, err := auth.New(ctx, cfg.Auth)
	if err != nil {
		return err
	}
	edge, err := tel.Edge()
	if err != nil {
		return err
	}
	door := httpapi.Echo(httpapi.Config{Verifier: verifier, Log: tel.Log, Edge: edge}, bare)
	g := run.NewGroup(ctx)
	g.Start("ops", func(ctx context.Context) error { return ops.Serve(ctx, cfg.Run.OpsAddr(), tel.Handler()) })
	g.Start("http", func(ctx context.Context) error { return httpapi.Serve(ctx, cfg.Run.Addr(), door) })
	return g.Wait()
}
