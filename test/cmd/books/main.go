// Command books waits until the running suite is quiet, and counts every store against the others.
package main

import (
	"context"
	"os"

	"github.com/floodgate-dev/floodgate/test/books"
)

func main() {
	os.Exit(books.Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
