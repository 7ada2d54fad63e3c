package kafka

import (
	_ "github.com/floodgate-dev/floodgate/pkg/config"
	_ "github.com/segmentio/kafka-go"
)
