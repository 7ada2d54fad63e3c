package telemetry_test

import (
	"testing"

	"github.com/floodgate-dev/floodgate/test/suite"
)

func TestMain(m *testing.M) { suite.Main(m) }
