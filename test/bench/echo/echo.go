// Package echo is order-api's door with nothing behind it: the ceiling that orders are measured against. It takes the settings
// of order-api.
package echo

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/floodgate-dev/floodgate/pkg/run"
	orderapi "github.com/floodgate-dev/floodgate/services/order-api"
)

// Command is the program: `serve` answers behind order-api's middleware, `bare` without it.
func Command() *cobra.Command {
	return run.Command(run.Service[orderapi.Config]{
		Name: "order-api", Short: "Answers orders with what was sent", Defaults: orderapi.Defaults(), Check: orderapi.Config.Check,
		Migrate: orderapi.Migrate,
		Serve:   func(ctx context.Context, cfg orderapi.Config) error { return orderapi.Echo(ctx, cfg, false) },
		More: func(load func() (orderapi.Config, error)) []*cobra.Command {
			return []*cobra.Command{{
				Use: "bare", Short: "Answer without the middleware", Args: cobra.NoArgs,
				RunE: func(cmd *cobra.Command, _ []string) error {
					cfg, err := load()
					if err != nil {
						return err
					}
					return orderapi.Echo(cmd.Context(), cfg, true)
				},
			}}
		},
	})
}
