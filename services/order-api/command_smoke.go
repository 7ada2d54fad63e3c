package orderapi

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/smoke"
)

// smokeCommand tries an installation with one order.
func smokeCommand(load func() (Config, error)) *cobra.Command {
	var address, tokenFile string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "smoke",
		Short: "Place one order in a running suite and follow it until every service has done its part",
		Long: "Lists an item of its own, sells one unit of it, waits until the order is paid and has a parcel, refunds the order and\n" +
			"retires the item. It makes its token with auth_key; where tokens come from an issuer (auth_jwks_…), --token-file\n" +
			"names a file with one that has the roles shop and operator.",
		Example: "  order-api smoke --url http://127.0.0.1:8080\n  order-api smoke --url https://orders.example --token-file /run/token --timeout 5m",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if at, err := url.Parse(address); err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
				return fmt.Errorf("--url is %q: it must be an address such as http://order-api:8080", address)
			}
			if timeout <= 0 {
				return fmt.Errorf("--timeout is %v: an order takes some time", timeout)
			}
			cfg, err := load()
			if err != nil {
				return err
			}
			token, err := smokeToken(cfg.Auth, tokenFile, timeout)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return smoke.Run(ctx, smoke.Config{URL: address, Token: token, Pause: 200 * time.Millisecond, Said: cmd.OutOrStdout()})
		},
	}
	cmd.Flags().StringVar(&address, "url", "http://127.0.0.1:8080", "where order-api is")
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "a file with a token, where auth_key makes none")
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long all of it may take")
	return cmd
}

func smokeToken(cfg auth.Config, file string, timeout time.Duration) (string, error) {
	if file != "" {
		text, err := os.ReadFile(file) //nolint:gosec // the operator names the file
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		return strings.TrimSpace(string(text)), nil
	}
	if cfg.Key == "" {
		return "", errors.New("there is no auth_key to make a token with: name a file that holds one with --token-file")
	}
	return auth.Issue(cfg, "floodgate-smoke", []string{"shop", "operator"}, timeout+time.Minute)
}
