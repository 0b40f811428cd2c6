//go:build unix

package main

import (
	"os"
	"syscall"
	"unsafe"
)

// terminalWidth asks the terminal for its columns; ok is false if f is no terminal.
func terminalWidth(f *os.File) (columns int, ok bool) {
	var window struct{ rows, columns, x, y uint16 }
	_, _, failed := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&window)))
	return int(window.columns), failed == 0
}
