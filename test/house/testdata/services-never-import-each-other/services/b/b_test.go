package b

import (
	_ "github.com/floodgate-dev/floodgate/deploy/local"
	_ "github.com/floodgate-dev/floodgate/services/a/internal/rules"
	_ "github.com/floodgate-dev/floodgate/test/books"
)
