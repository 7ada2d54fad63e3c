//go:build !linux

package suite

import "syscall"

func diesWithUs() *syscall.SysProcAttr { return nil }
