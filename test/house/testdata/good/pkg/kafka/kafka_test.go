package kafka

import (
	_ "github.com/segmentio/kafka-go"
)
