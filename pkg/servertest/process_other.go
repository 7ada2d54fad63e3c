//go:build !linux

package servertest

import "syscall"

// bind can do nothing here: a test binary that is killed leaves its servers behind.
func bind(*syscall.SysProcAttr) {}
