package local

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// state is the folder that outlives the process: a database for each service, the embedded Kafka's log, the key that
// signs tokens. One process at a time holds it.
type state struct {
	root string // .floodgate: what the ways to run share
	dir  string // .floodgate/local
	lock *os.File
}

// openState makes the folder where it is missing and takes its lock. The lock ends with the process, however it ends.
func openState(root string) (*state, error) {
	root, err := filepath.Abs(root) // others read the addresses from wherever they are
	if err != nil {
		return nil, err
	}
	s := &state{root: root, dir: filepath.Join(root, "local")}
	if err := os.MkdirAll(filepath.Join(s.dir, "kafka"), 0o750); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	lock, err := os.OpenFile(s.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the state folder's lock: %w", err)
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(fmt.Errorf("the suite already runs on %s: stop that one, or choose another folder with --state", s.dir), lock.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", s.dir, err), lock.Close())
	}
	s.lock = lock
	return s, nil
}

func (s *state) path(name string) string { return filepath.Join(s.dir, name) }

func (s *state) close() error { return s.lock.Close() }

// key reads the key that signs tokens and makes it once. It is written aside and linked into place, so that two
// starters agree on one key and none of them reads half of it.
func (s *state) key() (string, error) {
	path := filepath.Join(s.root, "auth.key")
	if key, err := os.ReadFile(path); err == nil { //nolint:gosec // a fixed name in the state folder
		return strings.TrimSpace(string(key)), nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the key of tokens: %w", err)
	}
	fresh := s.path("auth.key.new")
	if err := os.WriteFile(fresh, []byte(newKey()+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write the key of tokens: %w", err)
	}
	if err := os.Link(fresh, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("keep the key of tokens: %w", err)
	}
	if err := os.Remove(fresh); err != nil {
		return "", fmt.Errorf("tidy up the key of tokens: %w", err)
	}
	key, err := os.ReadFile(path) //nolint:gosec // a fixed name in the state folder
	return strings.TrimSpace(string(key)), err
}

func newKey() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// Addresses say where a running suite keeps its parts, for whoever looks at it from outside. They are written to
// local/suite.json once everything is ready.
type Addresses struct {
	PID       int               `json:"pid"`
	HTTP      string            `json:"http"`      // order-api, http://host:port
	Replayer  string            `json:"replayer"`  // dlq-replayer, http://host:port
	Kafka     string            `json:"kafka"`     // host:port
	Redis     string            `json:"redis"`     // host:port
	Prefix    string            `json:"prefix"`    // of topics and groups
	Databases map[string]string `json:"databases"` // DSN by service
}

func (s *state) announce(a Addresses) error {
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("suite.json.new"), append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the suite's addresses: %w", err)
	}
	return os.Rename(s.path("suite.json.new"), s.path("suite.json"))
}

// retract takes the addresses away: nobody answers there any more.
func (s *state) retract() error {
	if err := os.Remove(s.path("suite.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
