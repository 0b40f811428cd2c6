package demo

import "syscall"

// leash ends a child together with us, even if we are killed.
func leash() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
