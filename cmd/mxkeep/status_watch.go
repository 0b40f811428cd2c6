package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// waitEvery is how often a state is asked for that is waited for.
const waitEvery = time.Second

// await asks until the relay is in the state, or ctx ends; once if it is "".
// A relay that does not answer may be starting.
func (a *app) await(ctx context.Context, state string) (st admin.Status, err error) {
	client := a.client()
	err = repeat(ctx, waitEvery, func() (done bool, err error) {
		now, err := client.Status(ctx)
		if err == nil {
			st = now
		}
		return state == "" || err == nil && st.State == state, err
	})
	if err != nil && st.State != "" {
		err = fmt.Errorf("%w; the relay is %s, not %s", err, st.State, state)
	}
	return st, err
}

// watch shows the status again and again until ctx ends, also while the relay
// does not answer.
func (a *app) watch(ctx context.Context, every time.Duration) error {
	client := a.client()
	var broken error // of standard output
	err := repeat(ctx, every, func() (bool, error) {
		st, err := client.Status(ctx)
		if a.screen.out && !a.exact() {
			_, broken = io.WriteString(a.out, "\x1b[H\x1b[2J")
		}
		if err != nil {
			if ctx.Err() == nil {
				a.report(err)
			}
			return false, err
		}
		a.now = st.At.Time
		broken = errors.Join(broken, a.document(st, func(w io.Writer) { a.showStatus(w, st) }))
		return broken != nil, nil
	})
	switch {
	case broken != nil:
		return broken
	case errors.Is(err, context.Canceled): // that is how watching ends
		return exitCode(exitInterrupted)
	}
	return err
}

// repeat does something every so often until it is done, or ctx ends. Its
// error is then why ctx ended, with the last error of what was done.
func repeat(ctx context.Context, every time.Duration, do func() (done bool, err error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		done, err := do()
		if done {
			return err
		}
		select {
		case <-ctx.Done():
			cause := context.Cause(ctx)
			if err == nil || errors.Is(err, cause) {
				return cause
			}
			return fmt.Errorf("%w; the last answer was: %w", cause, err)
		case <-tick.C:
		}
	}
}
