package event

import (
	_ "github.com/floodgate-dev/floodgate/pkg/kafka"
)
