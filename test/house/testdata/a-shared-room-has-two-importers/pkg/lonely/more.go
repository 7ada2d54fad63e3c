package lonely

import (
	_ "github.com/floodgate-dev/floodgate/pkg/lonely"
)
