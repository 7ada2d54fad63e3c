package suite

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Embedded is the suite in one process, as `make run` starts it, on ports of the test's own.
type Embedded struct {
	*Process
	Base string // of order-api, http://host:port
	root string
}

// NewEmbedded makes a suite whose state lies in root; it does not start it.
func NewEmbedded(tb testing.TB, root string) *Embedded {
	tb.Helper()
	ports := freePorts(tb, 2*len(Services))
	e := &Embedded{Process: NewProcess(tb, "floodgate", Binary(tb, "floodgate"), "--state", root), root: root}
	e.Env = []string{"FLOODGATE_AUTH_KEY=" + Key}
	for i, name := range Services {
		own := strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		e.Env = append(e.Env, own+"_PORT="+ports[2*i], own+"_OPS_PORT="+ports[2*i+1])
		if name == "order-api" {
			e.Base = "http://127.0.0.1:" + ports[2*i]
		}
	}
	return e
}

// Kill is kill -9; what the suite said of its addresses is forgotten with it.
func (e *Embedded) Kill() {
	e.tb.Helper()
	e.Process.Kill()
	if err := os.Remove(e.addresses()); err != nil {
		e.tb.Fatal(err)
	}
}

func (e *Embedded) addresses() string { return filepath.Join(e.root, "local", "suite.json") }

// WaitAddresses returns when the suite is ready.
func (e *Embedded) WaitAddresses() {
	e.tb.Helper()
	WaitFor(e.tb, 60*time.Second, func() error {
		if !e.Alive() {
			e.tb.Fatalf("the suite ended:\n%s", e.Log())
		}
		_, err := os.Stat(e.addresses())
		return err
	})
}

// WaitSays returns when the suite has printed all of the words.
func (e *Embedded) WaitSays(words ...string) {
	e.tb.Helper()
	WaitFor(e.tb, 60*time.Second, func() error {
		if !e.Alive() {
			e.tb.Fatalf("the suite ended:\n%s", e.Log())
		}
		said := e.Log()
		for _, word := range words {
			if !strings.Contains(said, word) {
				return fmt.Errorf("it has not said %q:\n%s", word, said)
			}
		}
		return nil
	})
}
