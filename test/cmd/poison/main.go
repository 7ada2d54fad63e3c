// Command poison puts records into the running suite that its services give up, and says how to mend them.
package main

import (
	"context"
	"os"

	"github.com/floodgate-dev/floodgate/test/poison"
)

func main() {
	os.Exit(poison.Main(context.Background(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
