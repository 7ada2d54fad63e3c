package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// healthPatience is how long the operations door may take: it gives its own checks two seconds.
const healthPatience = 4 * time.Second

const healthHelp = `Ask the service that runs beside this whether it is ready.

It asks /readyz of the operations door that these settings name, so give it the settings of the one that serves: the same
environment, the same --config. Exit 0 when it is ready; 1 when it is not, cannot be reached, or when the settings do not work,
with the reason on stderr. Containers use it as their health check.`

func (w *words[C]) healthCommand() *cobra.Command {
	return &cobra.Command{
		Use: "health", Short: "Ask the service that runs here whether it is ready; exit 0 or 1", Long: healthHelp,
		Example: "  " + w.Name + " health", Args: cobra.NoArgs, RunE: w.health,
	}
}

func (w *words[C]) health(cmd *cobra.Command, _ []string) error {
	c, err := w.load()
	if err != nil {
		return errors.New(err.Error()) // without its exit code: a health check that ends with 2 means nothing to Docker
	}
	if err := askReady(cmd.Context(), w.Doors(c).ownOps()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), "ready")
	return err
}

// ownOps is where the operations door is reached from the same machine: what listens on every address is asked on loopback.
func (c Config) ownOps() string {
	host := c.ListenHost
	switch host {
	case "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	return net.JoinHostPort(host, strconv.Itoa(c.OpsPort))
}

// askReady asks the operations door at addr; nil when it says that the service is ready.
func askReady(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("ask the operations door: %w", err)
	}
	// A transport of its own: a proxy that the environment names has no business between a service and itself.
	door := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := door.Do(req)
	if err != nil {
		return fmt.Errorf("the operations door at %s does not answer: %w", addr, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusOK {
		return nil
	}
	said, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	return fmt.Errorf("%s: %s", res.Status, strings.TrimSpace(string(said)))
}
