// Command inventory keeps items and their units.
package main

import (
	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/services/inventory"
)

func main() { run.Main(inventory.Command()) }
