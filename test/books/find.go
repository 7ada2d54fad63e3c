package books

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Find finds the suite that runs on the state folder root: the one that `make run` started, else the one of `make up`.
func Find(root string) (Stores, error) {
	for _, way := range []string{"local", "up"} {
		at, err := read(filepath.Join(root, way, "suite.json"))
		if err != nil {
			return Stores{}, err
		}
		if at != nil && at.live() {
			return Stores{
				Databases: at.Databases, Brokers: strings.Split(at.Kafka, ","), Prefix: at.Prefix, HTTP: at.HTTP, Replayer: at.Replayer,
			}, nil
		}
	}
	return Stores{}, fmt.Errorf("no suite runs on %s: start one with `make run` or `make up`", root)
}

// addresses is what a running suite says of itself, in suite.json.
type addresses struct {
	PID       int               `json:"pid"` // 0 where the suite is more than one process
	HTTP      string            `json:"http"`
	Replayer  string            `json:"replayer"`
	Kafka     string            `json:"kafka"`
	Prefix    string            `json:"prefix"`
	Databases map[string]string `json:"databases"`
}

// live says that the process which wrote the addresses is there; kill -9 leaves them behind.
func (a addresses) live() bool { return a.PID == 0 || syscall.Kill(a.PID, 0) == nil }

// read is nil when no suite has said anything.
func read(path string) (*addresses, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var at addresses
	if err := json.Unmarshal(text, &at); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &at, nil
}
