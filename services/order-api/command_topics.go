package orderapi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/proto/event"
)

// topicsCommand makes what every service would else make for itself when it starts, so that only this one needs the right to.
func topicsCommand(load func() (Config, error)) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "topics",
		Short: "Make the topics of the whole suite where they are missing",
		Long: "Make the topics of the whole suite where they are missing, with kafka_partitions and kafka_replication. Those that\n" +
			"are there stay as they are. A Kafka that is away is waited for.",
		Example: "  order-api topics\n  order-api topics --timeout 5m",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			err = kafka.EnsureTopics(ctx, cfg.Kafka, event.Topics(), event.Groups())
			if errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("the topics were not there after %v: %w; is kafka_brokers right, and may this user make topics?", timeout, err)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "the topics are there")
			return err
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait for Kafka")
	return cmd
}
