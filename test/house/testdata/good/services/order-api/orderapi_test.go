package orderapi

import (
	_ "github.com/floodgate-dev/floodgate/pkg/servertest"
)
