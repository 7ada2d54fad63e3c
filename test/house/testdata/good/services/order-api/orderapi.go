package orderapi

import (
	_ "github.com/floodgate-dev/floodgate/pkg/kafka"
	_ "github.com/floodgate-dev/floodgate/services/order-api/internal/store"
)
