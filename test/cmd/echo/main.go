// Command echo is order-api's door with nothing behind it, for `make bench`.
package main

import (
	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/test/bench/echo"
)

func main() { run.Main(echo.Command()) }
