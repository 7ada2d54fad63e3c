package kafka

import (
	_ "github.com/floodgate-dev/floodgate/pkg/outbox"
	_ "github.com/floodgate-dev/floodgate/proto/event"
)
