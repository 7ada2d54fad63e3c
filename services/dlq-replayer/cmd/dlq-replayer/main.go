// Command dlq-replayer collects dead letters and shows what they died of.
package main

import (
	"github.com/floodgate-dev/floodgate/pkg/run"
	dlqreplayer "github.com/floodgate-dev/floodgate/services/dlq-replayer"
)

func main() { run.Main(dlqreplayer.Command()) }
