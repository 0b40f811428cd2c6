package incident

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/health/history"
	"github.com/mxkeep/mxkeep/queue"
)

// told is a history with a change and a sample, or one that cannot be read.
type told struct {
	*history.File
	fail error
}

func (h *told) Changes(context.Context, string, time.Time, time.Time) iter.Seq2[health.Change, error] {
	return func(yield func(health.Change, error) bool) { yield(health.Change{At: time.Now()}, h.fail) }
}

func (h *told) Samples(context.Context, string, time.Time, time.Time) iter.Seq2[health.Signal, error] {
	return func(yield func(health.Signal, error) bool) { yield(health.Signal{At: time.Now()}, h.fail) }
}

// kinds are the pieces of the evidence, one letter each.
func (r *rig) kinds(each func(Piece) error) (string, error) {
	var kinds strings.Builder
	err := r.keeper.Evidence(context.Background(), "INC-2000-01-01-1", func(p Piece) error {
		switch {
		case p.Head != nil:
			kinds.WriteByte('H')
		case p.Change != nil:
			kinds.WriteByte('c')
		case p.Sample != nil:
			kinds.WriteByte('s')
		case p.Line != nil:
			kinds.WriteByte('l')
		case p.Waiting != nil:
			kinds.WriteByte('w')
		case p.End != nil:
			kinds.WriteByte('E')
		}
		return each(p)
	})
	return kinds.String(), err
}

func TestEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.keeper.options.History = &told{File: r.file}
		before := r.accept("before@corp.example")
		r.attempt(before, delivered)
		time.Sleep(time.Second)
		r.becomes(health.Down)
		first := r.accept("a@corp.example", "b@corp.example")
		r.attempt(first, outage, delivered)
		var lines []queue.ID
		var end End
		late := queue.ID("")
		kinds, err := r.kinds(func(p Piece) error {
			switch {
			case p.Line != nil:
				lines = append(lines, p.Line.ID)
			case p.Waiting != nil && late == "": // mail goes on while the evidence is read
				late = r.accept("late@corp.example")
			case p.End != nil:
				end = *p.End
			}
			return nil
		})
		if err != nil || kinds != "HcsllwlE" {
			t.Errorf("%s, %v", kinds, err)
		}
		if len(lines) != 3 || lines[0] != first || lines[2] != late || end.Through == 0 || end.Unread != 0 || end.NoHistory {
			t.Errorf("%v %+v", lines, end)
		}
		r.wrong.set(ills{damaged: true})
		if _, err := r.kinds(func(p Piece) error {
			if p.End != nil && p.End.Unread != 2 { // a line, and a message
				t.Errorf("%+v", p.End)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
}

// TestEvidenceThatBreaksOff has an error for each place where it can.
func TestEvidenceThatBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.keeper.options.History = &told{File: r.file}
		r.becomes(health.Down)
		r.accept("a@corp.example")
		whole, err := r.kinds(func(Piece) error { return nil })
		if err != nil || whole != "HcslwE" {
			t.Fatalf("%s, %v", whole, err)
		}
		full := errors.New("no room")
		for n := range whole {
			left := n
			kinds, err := r.kinds(func(Piece) error {
				if left--; left < 0 {
					return full
				}
				return nil
			})
			if !errors.Is(err, full) || kinds != whole[:n+1] {
				t.Errorf("%d: %s, %v", n, kinds, err)
			}
		}
		for when, now := range map[rune]ills{'H': {fail: errDisk}, 'l': {gone: errDisk}, 'w': {fail: errDisk}} {
			r.wrong.set(ills{})
			if _, err := r.kinds(func(p Piece) error {
				if when == 'H' && p.Head != nil || when == 'l' && p.Line != nil || when == 'w' && p.Waiting != nil {
					r.wrong.set(now)
				}
				return nil
			}); !errors.Is(err, errDisk) {
				t.Errorf("after %c: %v", when, err)
			}
		}
		r.wrong.set(ills{fail: errDisk})
		if _, err := r.kinds(func(Piece) error { return nil }); !errors.Is(err, errDisk) {
			t.Error(err)
		}
		if err := r.keeper.Evidence(context.Background(), "INC-7", func(Piece) error { return nil }); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	})
}

// TestEvidenceWithoutItsHistory says so.
func TestEvidenceWithoutItsHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		told := &told{File: r.file}
		r.keeper.options.History = told
		r.becomes(health.Down)
		told.fail = errDisk
		if _, err := r.kinds(func(p Piece) error {
			if p.End != nil && !p.End.NoHistory {
				t.Error("it looks whole")
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
}
