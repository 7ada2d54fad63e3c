// Command floodgate runs the whole suite in one process on embedded parts.
package main

import (
	"os"

	"github.com/floodgate-dev/floodgate/deploy/local"
	"github.com/floodgate-dev/floodgate/pkg/run"
)

func main() {
	run.Main(local.Command(os.Environ(), os.Stdout))
}
