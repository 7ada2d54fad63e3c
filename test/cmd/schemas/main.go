// Command schemas writes JSON schemas of Kubernetes objects, for kubeconform.
package main

import (
	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/test/schemas"
)

func main() { run.Main(schemas.Command()) }
