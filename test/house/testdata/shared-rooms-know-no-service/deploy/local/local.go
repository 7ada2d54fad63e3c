package local

import (
	_ "github.com/floodgate-dev/floodgate/test/books"
)
