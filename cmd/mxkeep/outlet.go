package main

import (
	"errors"
	"io"
	"sync/atomic"
	"syscall"
)

// outlet is standard output. It remembers that its reader has gone, as in
// "mxkeep queue list | head": that is no failure of ours.
type outlet struct {
	w    io.Writer
	gone atomic.Bool
}

func (o *outlet) Write(text []byte) (int, error) {
	n, err := o.w.Write(text)
	if errors.Is(err, syscall.EPIPE) {
		o.gone.Store(true)
	}
	return n, err
}
