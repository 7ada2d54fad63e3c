package rules

import (
	_ "errors"
	_ "github.com/floodgate-dev/floodgate/pkg/config"
	_ "github.com/google/uuid"
)
