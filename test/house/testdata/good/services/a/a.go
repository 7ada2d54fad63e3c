package a

import (
	_ "github.com/floodgate-dev/floodgate/pkg/kafka"
	_ "github.com/floodgate-dev/floodgate/proto/event"
	_ "github.com/floodgate-dev/floodgate/services/a/internal/rules"
)
