package main

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

// app is one run of the command line: where it reads and writes, and what was
// asked of it globally.
type app struct {
	in        io.Reader
	out, errs io.Writer
	env       func(string) string
	dial      admin.Dial // nil: the control socket is a Unix socket
	now       time.Time  // of the start: ages are relative to it
	screen    screen
	check     func(ctx context.Context, path string) error // of a file that may be damaged, in a process of its own

	began bool // the arguments were understood
	flags globals
}

// globals are the flags of every command.
type globals struct {
	config, socket string
	output         string
	json           string
	fields         []string
	utc, local     bool
	noColor        bool
	quiet          bool
	dryRun         bool
	yes            bool
	noInput        bool
	timeout        time.Duration
}

// defaultSocket is where the service unit puts the control socket.
const defaultSocket = "/run/mxkeep/admin.sock"

// run executes one command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	out := &outlet{w: a.out}
	a.out = out
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.errs)
	err := root.ExecuteContext(ctx)
	if err == nil || errors.Is(err, syscall.EPIPE) && out.gone.Load() {
		return 0
	}
	return a.report(err)
}

// start is called when the arguments have been understood.
func (a *app) start(cmd *cobra.Command, _ []string) error {
	if a.flags.utc && a.flags.local {
		return usage("--utc and --local exclude each other")
	}
	if a.flags.json != "" && a.flags.json != "1" {
		return usage("--json=%s: this version writes schema 1", a.flags.json)
	}
	if err := a.fits(cmd.Annotations); err != nil {
		return err
	}
	if a.flags.timeout > 0 {
		ctx, stop := context.WithTimeoutCause(cmd.Context(), a.flags.timeout, errTimeout)
		context.AfterFunc(cmd.Context(), stop)
		cmd.SetContext(ctx)
	}
	a.began = true
	return nil
}

// errTimeout ends a command that took longer than --timeout.
var errTimeout = errors.New("the time of --timeout is over")

// client talks to the relay: flag, then environment, then configuration, then default.
func (a *app) client() *admin.Client {
	if a.dial != nil {
		return admin.NewClientOver(a.socket(), a.dial)
	}
	return admin.NewClient(a.socket())
}

func (a *app) socket() string {
	for _, path := range []string{a.flags.socket, a.env("MXKEEP_SOCKET"), a.configuredSocket()} {
		if path != "" {
			return path
		}
	}
	return defaultSocket
}

// zoneName names the zone of the times of a listing.
func (a *app) zoneName() string {
	name, _ := a.now.In(a.zone()).Zone()
	return name
}

// zone is where times for people are shown.
func (a *app) zone() *time.Location {
	if a.flags.local {
		return time.Local
	}
	return time.UTC
}
