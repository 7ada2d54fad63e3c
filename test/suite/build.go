package suite

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// Services are the processes that make a suite, in the order in which they start.
var Services = []string{"inventory", "points", "logistics", "dlq-replayer", "order-api"}

// bin is where this test binary's service binaries lie.
var bin string

// Main builds every service with the race detector, runs the tests against those, and removes them again:
//
//	func TestMain(m *testing.M) { suite.Main(m) }
//
// With SUITE_BUILD=shipped they are built as they are shipped, which is much faster: for a test whose load should be heavy.
func Main(m *testing.M) {
	how := "-race"
	if os.Getenv("SUITE_BUILD") == "shipped" {
		how = shipped
	}
	buildAndRun(m, how)
}

const shipped = "-trimpath"

// BenchMain is Main for benchmarks: the services are built as they are shipped, and so are the programs in the folders more.
// Where no benchmark was asked for it builds nothing.
func BenchMain(m *testing.M, more ...string) {
	flag.Parse()
	if asked := flag.Lookup("test.bench"); asked == nil || asked.Value.String() == "" {
		os.Exit(m.Run())
	}
	buildAndRun(m, shipped, more...)
}

func buildAndRun(m *testing.M, how string, more ...string) {
	code, err := run(m, how, more)
	if err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M, how string, more []string) (code int, err error) {
	if bin, err = os.MkdirTemp("", "floodgate-bin-"); err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(bin) }() // a folder of the system's temporary ones
	for _, part := range slices.Concat([]string{"../../deploy/local/cmd/floodgate"}, mains(), more) {
		build := exec.Command("go", "build", how, "-o", bin+string(filepath.Separator), ".")
		build.Dir = part
		if out, err := build.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build %s: %w\n%s", part, err, out)
		}
	}
	return m.Run(), nil
}

func mains() []string {
	var dirs []string
	for _, name := range Services {
		dirs = append(dirs, filepath.Join("../../services", name, "cmd", name))
	}
	return dirs
}

// Binary is the path of a program that Main built.
func Binary(tb testing.TB, name string) string {
	tb.Helper()
	if bin == "" {
		tb.Fatal("the package's tests need func TestMain(m *testing.M) { suite.Main(m) }")
	}
	return filepath.Join(bin, name)
}
