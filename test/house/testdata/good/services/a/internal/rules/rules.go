package rules

import (
	_ "errors"
	_ "net/url"
)
