package a

import (
	_ "github.com/floodgate-dev/floodgate/pkg/servertest"
)
