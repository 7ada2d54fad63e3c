package servertest

import (
	_ "github.com/floodgate-dev/floodgate/pkg/config"
)
