// Command points keeps the ledger of customers' points.
package main

import (
	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/services/points"
)

func main() { run.Main(points.Command()) }
