package relay

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/state"
)

// desk keeps windows for monitors, in a file.
type desk struct {
	*windows
	log      *events
	monitors map[string]*health.Monitor
}

func newDesk(t *testing.T, file *state.File) *desk {
	t.Helper()
	d := &desk{log: newEvents(), monitors: map[string]*health.Monitor{}}
	r := &Relay{state: file, log: d.log.log()}
	for _, name := range []string{"exo", "lab"} {
		p := &primary{name: name, monitor: health.NewMonitor(health.MonitorOptions{Upstream: name})}
		p.monitor.Observe(health.Signal{Source: health.SourceProbe})
		d.monitors[name] = p.monitor
		r.primaries = append(r.primaries, p)
	}
	r.openWindows()
	d.windows = r.windows
	return d
}

func (d *desk) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx) }()
	return func() { cancel(); <-done }
}

func (d *desk) want(t *testing.T, rule, exo, lab string) {
	t.Helper()
	for name, want := range map[string]string{"exo": exo, "lab": lab} {
		if got := d.monitors[name].Status().Effective(time.Now()).String(); got != want {
			t.Errorf("%s: %s is %s, want %s", rule, name, got, want)
		}
	}
}

func openState(t *testing.T) *state.File {
	t.Helper()
	file, err := state.Open(filepath.Join(t.TempDir(), "state.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

func TestWindowsSteer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := openState(t)
		d := newDesk(t, file)
		stop := d.run(t)
		began := time.Now()
		add := func(upstream string, from, to time.Duration, release string) string {
			t.Helper()
			w, err := d.Add(admin.Window{Upstream: upstream, From: admin.Time{Time: began.Add(from)}, To: admin.Time{Time: began.Add(to)}, Release: release, Actor: "jo", Reason: "move"})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return w.ID
		}
		if list := d.List(time.Now()); len(list) != 0 {
			t.Errorf("%+v", list)
		}
		ids := []string{add("exo", time.Hour, 2*time.Hour, admin.ReleaseAuto), add("lab", 90*time.Minute, 3*time.Hour, admin.ReleaseApproval), add("exo", 0, 10*time.Minute, admin.ReleaseAuto)}
		if strings.Join(ids, " ") != "WIN-2000-01-01-1 WIN-2000-01-01-2 WIN-2000-01-01-3" {
			t.Errorf("%q", ids)
		}
		d.want(t, "one holds from now", "down", "up")
		time.Sleep(10*time.Minute + time.Millisecond)
		synctest.Wait()
		d.want(t, "it is over", "up", "up")
		if !d.log.has("window.ended", "WIN-2000-01-01-3") || len(d.List(time.Now())) != 2 {
			t.Errorf("%+v", d.List(time.Now()))
		}
		time.Sleep(50 * time.Minute)
		synctest.Wait()
		d.want(t, "the next has begun", "down", "up")
		stop()

		time.Sleep(45 * time.Minute) // nobody runs: 1h45m after the beginning it starts again
		d = newDesk(t, file)
		d.want(t, "at once after a start", "down", "down")
		stop = d.run(t)
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		d.want(t, "one ended, the other waits for a person", "up", "down")
		if list := d.List(time.Now()); len(list) != 1 || list[0].State != admin.WindowWaits || list[0].ID != ids[1] {
			t.Errorf("%+v", list)
		}
		if _, err := d.Remove("WIN-1"); !errors.Is(err, admin.ErrNoWindow) {
			t.Error(err)
		}
		if w, err := d.Remove(ids[1]); err != nil || w.ID != ids[1] {
			t.Errorf("%+v %v", w, err)
		}
		d.want(t, "it was removed", "up", "up")
		began = time.Now()
		if id := add("exo", time.Hour, 2*time.Hour, admin.ReleaseAuto); id != "WIN-2000-01-01-4" {
			t.Errorf("%s: an id must not come again", id)
		}
		stop()
	})
}

// Of several that hold, the one that holds longest counts.
func TestHolding(t *testing.T) {
	now := time.Unix(1e9, 0)
	window := func(id string, from, to time.Duration, release string) admin.Window {
		return admin.Window{ID: id, Upstream: "exo", From: admin.Time{Time: now.Add(from)}, To: admin.Time{Time: now.Add(to)}, Release: release}
	}
	short, long, waits := window("short", -time.Hour, time.Hour, "auto"), window("long", 0, 2*time.Hour, "auto"), window("waits", -time.Hour, -time.Minute, "approval")
	planned, over := window("planned", time.Hour, 2*time.Hour, "approval"), window("over", -time.Hour, 0, "auto")
	for _, test := range []struct {
		want string
		all  []admin.Window
	}{
		{"", nil}, {"", []admin.Window{planned, over}}, {"short", []admin.Window{short}}, {"long", []admin.Window{short, long}}, {"long", []admin.Window{long, short}},
		{"waits", []admin.Window{short, waits, long}}, {"waits", []admin.Window{waits, short, planned}},
	} {
		got := ""
		if o := holding(test.all, "exo", now); o != nil {
			got = o.Window
		}
		if got != test.want || holding(test.all, "lab", now) != nil {
			t.Errorf("%+v: %q, want %q", test.all, got, test.want)
		}
	}
	if at := boundary([]admin.Window{over, long, planned}, now); !at.Equal(now.Add(time.Hour)) {
		t.Errorf("next at %v", at)
	}
}

// A file that cannot be written changes nothing; one that cannot be read is logged.
func TestWindowsOnABrokenDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := openState(t)
		if err := file.Put(windowsOwner, "all", "no list"); err != nil {
			t.Fatal(err)
		}
		d := newDesk(t, file)
		if !d.log.has("windows.forgotten") {
			t.Error("nothing is said")
		}
		now := time.Now()
		one, err := d.Add(admin.Window{Upstream: "exo", From: admin.Time{Time: now}, To: admin.Time{Time: now.Add(time.Minute)}, Release: "auto"})
		if err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Add(one); err == nil {
			t.Error("added")
		}
		if _, err := d.Remove(one.ID); err == nil {
			t.Error("removed")
		}
		d.want(t, "it holds as before", "down", "up")
		time.Sleep(time.Hour)
		d.steer(time.Now())
		d.want(t, "it is over all the same", "up", "up")
		if !d.log.has("windows.unsaved") || len(d.List(time.Now())) != 0 {
			t.Errorf("%+v", d.List(time.Now()))
		}
	})
}
