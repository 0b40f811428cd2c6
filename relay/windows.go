package relay

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/state"
)

// windowsOwner is the bucket of planned windows, all in one value.
const windowsOwner = "windows"

// windows keeps planned windows over restarts, and lets them steer.
type windows struct {
	file  *state.File
	plan  func(upstream string, o *health.Override)
	names []string
	log   *slog.Logger
	wake  chan struct{} // of size one

	mu   sync.Mutex
	kept keptWindows
}

// keptWindows is what is on disk.
type keptWindows struct {
	Windows []admin.Window `json:"windows"` // by their beginning
	Day     string         `json:"day"`     // of the last id, and
	Number  int            `json:"number"`
}

// openWindows reads what there is, and lets what holds now hold at once.
func (r *Relay) openWindows() {
	w := &windows{file: r.state, log: r.log, wake: make(chan struct{}, 1)}
	monitors := map[string]*health.Monitor{}
	for _, p := range r.primaries {
		monitors[p.name] = p.monitor
		w.names = append(w.names, p.name)
	}
	w.plan = func(upstream string, o *health.Override) { monitors[upstream].Plan(o) }
	if _, err := w.file.Get(windowsOwner, "all", &w.kept); err != nil {
		w.log.Warn("windows.forgotten", "error", err)
		w.kept = keptWindows{}
	}
	r.windows = w
	w.steer(time.Now())
}

// standing says how a window is at now; "" if it is over.
func standing(w admin.Window, now time.Time) string {
	switch {
	case now.Before(w.From.Time):
		return admin.WindowPlanned
	case now.Before(w.To.Time):
		return admin.WindowHolds
	case w.Release == admin.ReleaseApproval:
		return admin.WindowWaits
	}
	return ""
}

// holding is the decision of the windows of an upstream at now: of several that
// hold, the one that holds longest; nil if none does.
func holding(all []admin.Window, upstream string, now time.Time) (o *health.Override) {
	for _, w := range all {
		if s := standing(w, now); w.Upstream != upstream || s == "" || s == admin.WindowPlanned {
			continue
		}
		one := &health.Override{State: health.Down, Until: w.To.Time, Actor: w.Actor, Reason: w.Reason, Window: w.ID}
		if w.Release == admin.ReleaseApproval {
			one.Until = time.Time{}
		}
		if o == nil || !o.Until.IsZero() && (one.Until.IsZero() || one.Until.After(o.Until)) {
			o = one
		}
	}
	return o
}

// boundary is when the next window begins or ends; zero if none does.
func boundary(all []admin.Window, now time.Time) (next time.Time) {
	for _, w := range all {
		for _, at := range []time.Time{w.From.Time, w.To.Time} {
			if at.After(now) && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
	}
	return next
}

// steer lets the windows of now count, and forgets those that are over.
func (w *windows) steer(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	over := func(one admin.Window) bool { return standing(one, now) == "" }
	for _, one := range w.kept.Windows {
		if over(one) {
			w.log.Info("window.ended", "window", one.ID, "upstream", one.Upstream)
		}
	}
	if slices.ContainsFunc(w.kept.Windows, over) {
		next := w.kept
		next.Windows = slices.DeleteFunc(slices.Clone(w.kept.Windows), over)
		if err := w.save(next); err != nil { // it is over all the same, and is forgotten after the next start
			w.log.Warn("windows.unsaved", "error", err)
			w.kept = next
		}
	}
	for _, name := range w.names {
		w.plan(name, holding(w.kept.Windows, name, now))
	}
}

func (w *windows) save(next keptWindows) error {
	if err := w.file.Put(windowsOwner, "all", next); err != nil {
		return err
	}
	w.kept = next
	return nil
}

// maxSleep bounds how long a clock that was set goes unnoticed.
const maxSleep = time.Minute

// Run lets windows begin and end until ctx ends.
func (w *windows) Run(ctx context.Context) {
	for ctx.Err() == nil {
		now := time.Now()
		w.steer(now)
		w.mu.Lock()
		next := boundary(w.kept.Windows, now)
		w.mu.Unlock()
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = time.After(min(next.Sub(now), maxSleep))
		}
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-timer:
		}
	}
}

// changed makes Run look at once.
func (w *windows) changed() {
	w.steer(time.Now())
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// List are the windows that are not over.
func (w *windows) List(now time.Time) (all []admin.Window) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.kept.Windows {
		if one.State = standing(one, now); one.State != "" {
			all = append(all, one)
		}
	}
	return all
}

// Add keeps a window and gives it an id that no other had.
func (w *windows) Add(one admin.Window) (admin.Window, error) {
	w.mu.Lock()
	next := w.kept
	if day := time.Now().UTC().Format(time.DateOnly); day > next.Day { // a clock that was set back gives no id twice
		next.Day, next.Number = day, 0
	}
	next.Number++
	one.ID = fmt.Sprintf("WIN-%s-%d", next.Day, next.Number)
	next.Windows = append(slices.Clone(next.Windows), one)
	slices.SortStableFunc(next.Windows, func(a, b admin.Window) int { return cmp.Or(a.From.Compare(b.From.Time), cmp.Compare(a.ID, b.ID)) })
	err := w.save(next)
	w.mu.Unlock()
	if err == nil {
		w.changed()
	}
	return one, err
}

// Remove forgets a window; what it holds is let go.
func (w *windows) Remove(id string) (removed admin.Window, err error) {
	w.mu.Lock()
	i := slices.IndexFunc(w.kept.Windows, func(one admin.Window) bool { return one.ID == id })
	if i < 0 {
		w.mu.Unlock()
		return removed, fmt.Errorf("%s: %w", id, admin.ErrNoWindow)
	}
	next := w.kept
	removed = next.Windows[i]
	next.Windows = slices.Delete(slices.Clone(next.Windows), i, i+1)
	err = w.save(next)
	w.mu.Unlock()
	if err == nil {
		w.changed()
	}
	return removed, err
}
