package rules

import (
	_ "pgregory.net/rapid"
)
