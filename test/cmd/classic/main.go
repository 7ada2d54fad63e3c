// Command classic is the usual order service, for `make bench`; see test/bench/classic.
package main

import (
	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/test/bench/classic"
)

func main() { run.Main(classic.Command()) }
