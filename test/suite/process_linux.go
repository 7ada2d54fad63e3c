package suite

import "syscall"

// diesWithUs ends a child whose parent was killed before it could clean up.
func diesWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
