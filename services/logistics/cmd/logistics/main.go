// Command logistics keeps shipments.
package main

import (
	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/services/logistics"
)

func main() { run.Main(logistics.Command()) }
