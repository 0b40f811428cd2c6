package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
)

// child is a process of the demonstration. What it says on standard error goes to a file.
type child struct {
	cmd   *exec.Cmd
	log   *os.File
	ended chan struct{} // closed when it has ended
	err   error         // why, once it has
}

// start runs the binary with the arguments. in and out may both be nil.
func start(binary, log string, in, out *os.File, args ...string) (*child, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(binary, args...), log: file, ended: make(chan struct{})}
	c.cmd.Stderr, c.cmd.SysProcAttr = file, leash()
	if in != nil {
		c.cmd.Stdin, c.cmd.Stdout = in, out
	}
	if err := c.cmd.Start(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	go func() {
		defer close(c.ended)
		c.err = errors.Join(c.cmd.Wait(), file.Close())
	}()
	return c, nil
}

// end sends a signal and waits for the end. It returns how the process ended.
func (c *child) end(signal syscall.Signal) error {
	_ = c.cmd.Process.Signal(signal) // fails only if it has ended
	<-c.ended
	return c.err
}

// stop lets the process come to its end by itself.
func (c *child) stop(ctx context.Context) error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // fails only if it has ended
	select {
	case <-c.ended:
		return c.failure()
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(stepLimit):
		return fmt.Errorf("%s does not end", c.name())
	}
}

// over reports whether the process has ended.
func (c *child) over() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// failure says how a process that is over went wrong.
func (c *child) failure() error {
	if c.err == nil {
		return nil
	}
	return fmt.Errorf("%s has ended: %w", c.name(), c.err)
}

// name is the command line without what only the process itself wants to know.
func (c *child) name() string { return filepath.Base(c.cmd.Path) + " " + c.cmd.Args[1] }

// sending is the sender's process, seen from outside.
type sending struct {
	*child
	in       *os.File
	progress atomic.Pointer[Progress]
}

// startSender runs the sender.
func startSender(binary, log string, o SenderOptions) (*sending, error) {
	order, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirIn.Close()
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	defer theirOut.Close()
	s := &sending{in: in}
	s.progress.Store(&Progress{})
	if s.child, err = start(binary, log, theirIn, theirOut, "demo", "--sender", string(order)); err != nil {
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	go func() {
		defer out.Close()
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var p Progress
			if json.Unmarshal(lines.Bytes(), &p) == nil {
				s.progress.Store(&p)
			}
		}
	}()
	return s, nil
}

// stop asks for no more messages. The process ends when all it made are taken.
func (s *sending) stop() { _ = s.in.Close() } // fails only if it was closed before
