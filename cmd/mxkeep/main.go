// Command mxkeep is a backup MX: it takes mail into custody while the primary
// cannot, and delivers it once the primary can.
//
// "mxkeep serve" is the relay. Every other command asks it over its control
// socket: data goes to standard output, words to standard error, and the exit
// code says what happened (see errors.go). A command that changes something
// does so only for what was chosen, and says beforehand what that is.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// version is set by the linker.
var version = "dev"

func main() {
	signal.Ignore(syscall.SIGPIPE) // a reader that has gone is an error of the write, see outlet.go
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends what does not end by itself
	a := &app{in: os.Stdin, out: os.Stdout, errs: os.Stderr, env: os.Getenv, now: time.Now(), screen: look(os.Stdin, os.Stdout, os.Getenv), check: checkFile}
	os.Exit(a.run(ctx, os.Args[1:]))
}
