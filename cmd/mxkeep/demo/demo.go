// Package demo shows the main job end to end: a primary, a relay and a sender
// as processes on this machine, an outage, a killed relay, the recovery.
//
// It proves nothing by what the relay says of itself: at the end the sender's
// journal of 250s and the primary's record are joined, and the relay can write
// to neither. What went wrong on the way is an error; what the account shows is
// in the Report. However it ends, no process and no socket is left behind.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
)

// Options says what to show.
type Options struct {
	Script Script    // what Find found
	Folder string    // for all data; it must not have been used before
	Binary string    // mxkeep, for the relay and the sender; "" is the running program
	Out    io.Writer // gets what people read while it goes on
	Forget bool      // leave one message out of the primary's record, to see that the account notices
}

const (
	domain        = "corp.example"
	every         = 50 * time.Millisecond // between two messages of the sender
	enoughHealthy = 40                    // messages to the primary before the outage
	enoughHeld    = 150                   // messages in custody before the kill
	patience      = 15 * time.Second      // with an outage that brings fewer
	stepLimit     = 30 * time.Second
	drainLimit    = 90 * time.Second
)

// Run shows a script. The error says what did not happen in time, or could not
// be done; the ends of the logs are then shown. When ctx ends, so does it.
func Run(ctx context.Context, o Options) (Report, error) {
	folder, err := filepath.Abs(o.Folder)
	if err != nil {
		return Report{}, err
	}
	o.Folder = folder
	s := &stage{o: o, script: o.Script, began: time.Now(), report: Report{Schema: SchemaReport, Scenario: o.Script.Name}}
	defer s.clear()
	for _, act := range []func(context.Context) error{s.open, s.healthy, s.outage, s.kill, s.recovery, s.close} {
		err := act(ctx)
		switch {
		case err == nil:
		case ctx.Err() != nil: // whatever else fell over then
			return s.report, fmt.Errorf("broken off: %w", ctx.Err())
		default:
			s.showLogs()
			return s.report, err
		}
	}
	return s.report, nil
}

// healthy waits until mail flows to the primary.
func (s *stage) healthy(ctx context.Context) error {
	err := s.until(ctx, "mail to flow to the primary", stepLimit, func(v view) bool {
		return v.sender.Primary >= enoughHealthy && v.state == "up"
	})
	if err == nil {
		s.tell("healthy", s.look(ctx).numbers())
	}
	return err
}

// outage begins the outage and waits until enough mail is in custody.
func (s *stage) outage(ctx context.Context) error {
	outage, err := s.play(s.script.outage)
	if err != nil {
		return err
	}
	began := time.Now()
	s.tell("OUTAGE", "the primary "+outage.About)
	var last view
	err = s.until(ctx, "mail to be held", stepLimit, func(v view) bool {
		last = v
		if v.state == "down" && !s.report.Declared {
			s.report.Declared, s.report.DetectSeconds = true, time.Since(began).Seconds()
			s.tell("DOWN", fmt.Sprintf("the relay declares the primary down, %.1f s after the outage began: %s", s.report.DetectSeconds, cut(v.why)))
		}
		return v.held >= enoughHeld || v.held > 0 && time.Since(began) > patience
	})
	if err != nil {
		return err
	}
	if !s.report.Declared {
		s.tell("not down", "the relay takes mail, but does not declare the primary down: "+cut(last.why))
	}
	s.tell("holding", last.numbers())
	return nil
}

// kill ends the relay as a power cut would, and starts it again.
func (s *stage) kill(ctx context.Context) error {
	received := len(s.primary.Received())
	s.report.HeldBefore = s.look(ctx).held
	began := time.Now()
	_ = s.relay.end(killed) // it has been killed, so it says so
	s.tell("KILLED", fmt.Sprintf("the relay, by SIGKILL, with %d messages in its custody", s.report.HeldBefore))
	if err := s.startRelay(ctx); err != nil {
		return err
	}
	s.report.HeldAfter = s.look(ctx).held
	s.report.Meanwhile = int64(len(s.primary.Received()) - received)
	words := fmt.Sprintf("the relay, within %.1f s, with %d messages in its custody", time.Since(began).Seconds(), s.report.HeldAfter)
	if s.report.Meanwhile > 0 {
		words += fmt.Sprintf("; the primary took %d meanwhile", s.report.Meanwhile)
	}
	s.tell("restarted", words)
	return nil
}

// recovery ends the outage and waits until nothing is left.
func (s *stage) recovery(ctx context.Context) error {
	if s.script.alone {
		if err := s.endSender(ctx); err != nil {
			return err
		}
		s.tell("sender", "it has stopped, so that only the relay meets what comes now")
	}
	recovery, err := s.play(s.script.recovered())
	if err != nil {
		return err
	}
	began := time.Now()
	s.tell("RECOVERY", "the primary "+recovery.About)
	if !s.script.alone {
		recovered := func(v view) bool { return v.known && v.state != "down" && v.held <= s.report.HeldAfter/2 }
		if err := s.until(ctx, "deliveries after the outage", drainLimit, recovered); err != nil {
			return err
		}
		s.tell("draining", s.look(ctx).numbers())
		if err := s.endSender(ctx); err != nil {
			return err
		}
	}
	if err := s.until(ctx, "the queue to be empty", drainLimit, func(v view) bool { return v.known && v.held == 0 }); err != nil {
		return err
	}
	s.report.DrainSeconds = time.Since(began).Seconds()
	s.tell("drained", s.look(ctx).numbers())
	return nil
}

// play changes what the primary acts.
func (s *stage) play(name string) (primary.Scenario, error) {
	scenario, err := primary.Named(name)
	if err != nil {
		return scenario, err
	}
	return scenario, s.primary.Play(scenario)
}

// close makes the account.
func (s *stage) close(ctx context.Context) error {
	journal, err := ReadJournal(s.path("journal.jsonl"))
	if err != nil {
		return err
	}
	arrived, err := primary.ReadRecord(s.path("primary"))
	if err != nil {
		return err
	}
	if s.o.Forget && len(arrived) > 0 {
		s.tell("forget", "one message is left out of the primary's record, as if it had been lost: "+messageID(arrived[0].Content))
		arrived = arrived[1:]
	}
	r := &s.report
	r.Account = MakeAccount(journal, arrived)
	if r.Unmarked, err = s.unmarked(ctx, r.Account.ByRelay()); err != nil {
		return err
	}
	status, err := s.client.Status(ctx)
	if err != nil {
		return err
	}
	if status.Account == nil {
		return errors.New("the relay cannot read its store")
	}
	r.Missing = status.Account.Missing
	r.Faults = r.faults(s.script)
	r.Good = len(r.Faults) == 0
	return s.relay.stop(ctx)
}

// binary is the running program, if no other is named.
func (o Options) binary() (string, error) {
	if o.Binary != "" {
		return o.Binary, nil
	}
	return os.Executable()
}

func (s *stage) path(name string) string { return filepath.Join(s.o.Folder, name) }
