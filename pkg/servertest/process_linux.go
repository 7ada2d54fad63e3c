package servertest

import "syscall"

// bind ends the server with the test binary, also when that panics or is killed and no cleanup runs.
func bind(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
