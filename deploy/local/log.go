package local

import (
	"fmt"
	"log/slog"
	"os"
)

// openLog sends what the services log to a file, so that what the tutorial says can be read. They write to os.Stderr
// as it is when they start, so it is the file until the suite has stopped.
func openLog(path string) (log *slog.Logger, restore func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // a fixed name in the state folder
	if err != nil {
		return nil, nil, fmt.Errorf("open the log: %w", err)
	}
	terminal := os.Stderr
	os.Stderr = f
	return slog.New(slog.NewTextHandler(f, nil)), func() error {
		os.Stderr = terminal
		return f.Close()
	}, nil
}
