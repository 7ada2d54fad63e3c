// Command order-api takes orders, many at once, and tells their lives.
package main

import (
	"github.com/floodgate-dev/floodgate/pkg/run"
	orderapi "github.com/floodgate-dev/floodgate/services/order-api"
)

func main() { run.Main(orderapi.Command()) }
