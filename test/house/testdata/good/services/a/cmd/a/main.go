package main

import (
	_ "github.com/floodgate-dev/floodgate/services/a"
)

func main() {}
