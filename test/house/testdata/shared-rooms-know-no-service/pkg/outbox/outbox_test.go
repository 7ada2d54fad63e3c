package outbox

import (
	_ "github.com/floodgate-dev/floodgate/services/a"
)
