package orderapi

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/run"
)

// Command is the service's command line.
func Command() *cobra.Command {
	return run.Command(run.Service[Config]{
		Name: "order-api", Short: "Takes orders, many at once, and tells their lives", Defaults: Defaults(), Check: Config.Check, Serve: Run,
		Doors:   func(c Config) run.Config { return c.Run },
		Migrate: Migrate, Database: func(c Config) database.Config { return c.Database }, Consumes: true, More: more,
	})
}

func more(load func() (Config, error)) []*cobra.Command {
	return []*cobra.Command{
		tokenCommand(load),
		topicsCommand(load),
		smokeCommand(load),
		outbox.Command(func() (*database.DB, error) {
			cfg, err := load()
			if err != nil {
				return nil, err
			}
			return database.Open(cfg.Database)
		}),
	}
}

// tokenCommand makes tokens with the configured key. The token alone goes to stdout.
func tokenCommand(load func() (Config, error)) *cobra.Command {
	var user string
	var roles []string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:     "token",
		Short:   "Print a bearer token for a user, signed with auth_key",
		Example: "  order-api token --user u-1\n  order-api token --user till-7 --role shop --ttl 8h",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			if ttl <= 0 {
				return fmt.Errorf("--ttl is %v: a token must last", ttl)
			}
			token, err := auth.Issue(cfg.Auth, user, roles, ttl)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "who the token speaks for (required)")
	cmd.Flags().StringSliceVar(&roles, "role", nil, "shop or operator; none for a customer")
	cmd.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long it lasts")
	_ = cmd.MarkFlagRequired("user") // it fails only for a flag that does not exist
	return cmd
}
