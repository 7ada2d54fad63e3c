package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// door is one address that the suite will listen on, and the setting that moves it.
type door struct {
	addr    string
	setting string
}

// checkDoors complains about the first door that somebody else holds, before anything has started: a suite that runs
// halfway is worse than one sentence.
func checkDoors(ctx context.Context, doors []door) error {
	var lc net.ListenConfig
	wanted := map[string]string{}
	for _, d := range doors {
		_, port, err := net.SplitHostPort(d.addr)
		if err != nil {
			return fmt.Errorf("%s: %w", d.setting, err)
		}
		if other, twice := wanted[port]; twice && port != "0" {
			return fmt.Errorf("port %s is wanted by %s and by %s: give one of them another port", port, other, d.setting)
		}
		wanted[port] = d.setting
		l, err := lc.Listen(ctx, "tcp", d.addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("port %s is taken: stop what listens there, or set %s to another port", port, d.setting)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", d.setting, err)
		}
		if err := l.Close(); err != nil {
			return fmt.Errorf("close %s again: %w", d.addr, err)
		}
	}
	return nil
}
