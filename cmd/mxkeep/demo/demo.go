// Package demo shows the main job end to end: a primary, a relay and a sender
// as processes on this machine, an outage, a killed relay, the recovery.
//
// It proves nothing by what the relay says of itself: at the end the sender's
// journal of 250s and the primary's record are joined, and the relay can write
// to neither. What went wrong on the way is an error; what the account shows is
// in the Report.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
)

// Options says what to show.
type Options struct {
	Script string    // name of a Script; "" is the first
	Folder string    // for all data; it must not have been used before
	Binary string    // mxkeep, for the relay and the sender
	Out    io.Writer // gets what people read while it goes on
	Forget bool      // leave one message out of the primary's record, to see that the account notices
}

// Report is how a demonstration ended.
type Report struct {
	Schema        string   `json:"schema"`
	Scenario      string   `json:"scenario"`
	Declared      bool     `json:"declared_down"`         // the relay declared the primary down
	DetectSeconds float64  `json:"detect_seconds"`        // from the beginning of the outage until then
	HeldBefore    int64    `json:"held_before_kill"`      // messages
	HeldAfter     int64    `json:"held_after_kill"`       // messages
	DrainSeconds  float64  `json:"drain_seconds"`         // from the end of the outage until the queue was empty
	Account       Account  `json:"account"`               //
	Unmarked      []string `json:"unmarked_duplicates"`   // duplicates of the relay that its ledger does not call possible
	Missing       int64    `json:"missing_in_the_ledger"` // what the relay's own account is short of
	Good          bool     `json:"good"`
}

// SchemaReport names the form of a Report.
const SchemaReport = "mxkeep.demo/1"

const (
	domain        = "corp.example"
	every         = 50 * time.Millisecond // between two messages of the sender
	enoughHealthy = 40                    // messages to the primary before the outage
	enoughHeld    = 150                   // messages in custody before the kill
	patience      = 15 * time.Second      // with an outage that brings fewer
	stepLimit     = 30 * time.Second
	drainLimit    = 90 * time.Second
)

// Run shows a script. The error says what did not happen in time, or could not be done.
func Run(ctx context.Context, o Options) (Report, error) {
	script, err := find(o.Script)
	if err != nil {
		return Report{}, err
	}
	s := &stage{o: o, script: script, began: time.Now(), report: Report{Schema: SchemaReport, Scenario: script.Name}}
	defer s.clear()
	for _, act := range []func(context.Context) error{s.open, s.healthy, s.outage, s.kill, s.recovery, s.close} {
		if err := act(ctx); err != nil {
			return s.report, err
		}
	}
	return s.report, nil
}

// healthy waits until mail flows to the primary.
func (s *stage) healthy(ctx context.Context) error {
	return s.until(ctx, "flow of mail to the primary", stepLimit, func(v view) bool {
		return v.sender.Primary >= enoughHealthy && v.state == "up"
	})
}

// outage begins the outage and waits until enough mail is in custody.
func (s *stage) outage(ctx context.Context) error {
	s.tell("healthy", s.look(ctx).numbers())
	outage, err := primary.Named(s.script.outage)
	if err != nil {
		return err
	}
	if err := s.primary.Play(outage); err != nil {
		return err
	}
	began := time.Now()
	s.tell("OUTAGE", "the primary "+outage.About+" ("+outage.Name+")")
	err = s.until(ctx, "custody of mail", stepLimit, func(v view) bool {
		if v.state == "down" && !s.report.Declared {
			s.report.Declared, s.report.DetectSeconds = true, time.Since(began).Seconds()
			s.tell("DOWN", fmt.Sprintf("declared after %.1f s: %s", s.report.DetectSeconds, v.why))
		}
		return v.held >= enoughHeld || v.held > 0 && time.Since(began) > patience
	})
	s.tell("holding", s.look(ctx).numbers())
	return err
}

// kill ends the relay as a power cut would, and starts it again.
func (s *stage) kill(ctx context.Context) error {
	s.report.HeldBefore = s.look(ctx).held
	began := time.Now()
	_ = s.relay.end(killed) // it has been killed, so it says so
	if err := s.startRelay(ctx); err != nil {
		return err
	}
	s.report.HeldAfter = s.look(ctx).held
	s.tell("SIGKILL", fmt.Sprintf("relay killed and started again in %.1f s: %d held before, %d after", time.Since(began).Seconds(), s.report.HeldBefore, s.report.HeldAfter))
	return nil
}

// recovery ends the outage and waits until nothing is left.
func (s *stage) recovery(ctx context.Context) error {
	if s.script.alone {
		if err := s.endSender(ctx); err != nil {
			return err
		}
	}
	recovery, err := primary.Named(s.script.recovered())
	if err != nil {
		return err
	}
	if err := s.primary.Play(recovery); err != nil {
		return err
	}
	began := time.Now()
	s.tell("RECOVERY", "the primary "+recovery.About+" ("+recovery.Name+")")
	if !s.script.alone {
		recovered := func(v view) bool { return v.state != "down" && v.held <= s.report.HeldAfter/2 }
		if err := s.until(ctx, "deliveries after the outage", drainLimit, recovered); err != nil {
			return err
		}
		s.tell("draining", s.look(ctx).numbers())
		if err := s.endSender(ctx); err != nil {
			return err
		}
	}
	if err := s.until(ctx, "an empty queue", drainLimit, func(v view) bool { return v.known && v.held == 0 }); err != nil {
		return err
	}
	s.report.DrainSeconds = time.Since(began).Seconds()
	s.tell("drained", s.look(ctx).numbers())
	return nil
}

func (s Script) recovered() string {
	if s.recovery == "" {
		return "healthy"
	}
	return s.recovery
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
	expected := s.script.repeats || len(r.Account.ByRelay()) == 0
	r.Good = r.Account.Good() && r.Account.ViaRelay > 0 && len(r.Unmarked) == 0 && r.Missing == 0 && r.HeldAfter >= r.HeldBefore && expected
	return s.relay.end(terminated)
}

// Show writes the account for people.
func (r Report) Show(w io.Writer) {
	a := r.Account
	fmt.Fprintf(w, "\nThe account, from the sender's journal and the primary's record:\n")
	fmt.Fprintf(w, "  sent        %5d  answered 250: %d by the primary itself, %d by the relay\n", a.Sent, a.Sent-a.ViaRelay, a.ViaRelay)
	fmt.Fprintf(w, "  delivered   %5d\n", a.Delivered)
	for _, row := range []struct {
		name, words string
		ids         []string
	}{
		{"lost", "", a.Lost},
		{"duplicated", "by the relay" + marked(r), a.ByRelay()},
		{"changed", "bytes are identical, but for the trace header in front", a.Changed},
		{"bounced", "", a.Bounced},
	} {
		fmt.Fprintf(w, "  %-11s %5d  %s\n", row.name, len(row.ids), strings.TrimSpace(row.words+" "+few(row.ids)))
	}
	if r.Good {
		fmt.Fprintf(w, "Nothing is lost. Drained %.1f s after the outage.\n", r.DrainSeconds)
		return
	}
	fmt.Fprintf(w, "NOT GOOD: see the account above and the logs.\n")
}

func marked(r Report) string {
	if len(r.Account.ByRelay()) > 0 && len(r.Unmarked) == 0 {
		return "; each is marked as a possible duplicate in its ledger"
	}
	return ""
}

// few names the first of the messages.
func few(ids []string) string {
	const most = 3
	if len(ids) > most {
		return strings.Join(ids[:most], " ") + " ..."
	}
	return strings.Join(ids, " ")
}

// binary is the running program, if no other is named.
func (o Options) binary() (string, error) {
	if o.Binary != "" {
		return o.Binary, nil
	}
	return os.Executable()
}

func (s *stage) path(name string) string { return filepath.Join(s.o.Folder, name) }
