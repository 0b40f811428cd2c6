//go:build !linux

package demo

import "syscall"

// leash: only Linux can end a child together with us if we are killed.
func leash() *syscall.SysProcAttr { return nil }
