//go:build !unix

package main

import "os"

// terminalWidth treats every file as no terminal.
func terminalWidth(*os.File) (columns int, ok bool) { return 0, false }
