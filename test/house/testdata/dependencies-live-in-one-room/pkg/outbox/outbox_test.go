package outbox

import (
	_ "github.com/segmentio/kafka-go"
)
