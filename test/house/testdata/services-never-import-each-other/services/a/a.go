package a

import (
	_ "github.com/floodgate-dev/floodgate/services/a/internal/rules"
	_ "github.com/floodgate-dev/floodgate/services/b"
)
