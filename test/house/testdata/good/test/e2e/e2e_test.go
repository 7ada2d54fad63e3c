package e2e

import (
	_ "github.com/floodgate-dev/floodgate/pkg/kafka"
	_ "github.com/floodgate-dev/floodgate/services/a"
	_ "github.com/segmentio/kafka-go"
)
