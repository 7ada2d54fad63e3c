package b

import (
	_ "github.com/floodgate-dev/floodgate/pkg/lonely"
	_ "github.com/floodgate-dev/floodgate/pkg/servertest"
)
