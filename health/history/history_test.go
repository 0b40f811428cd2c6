package history

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/mxkeep/mxkeep/health"
)

var noon = time.Date(2026, 3, 12, 12, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

// opened opens a file that is whole, and closes it at the end.
func opened(t testing.TB, path string, o Options) *File {
	t.Helper()
	f := Open(path, o)
	if trouble := f.Trouble(); trouble != nil {
		t.Fatal(trouble)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func fresh(t testing.TB, o Options) *File {
	return opened(t, filepath.Join(t.TempDir(), "history.db"), o)
}

func probe(minutes int, class health.Class, address string) health.Signal {
	return health.Signal{At: at(minutes), Upstream: "exo", Source: health.SourceProbe, Class: class, Phase: health.PhaseRcpt, Command: "RCPT",
		Reply: "451 4.3.2 Temporary\nserver \x1b error", Host: "mx.corp.example", Address: address, Session: "ABC", Took: time.Second, Round: 7, Last: true}
}

// written records and writes.
func (f *File) written(t testing.TB, signals ...health.Signal) {
	t.Helper()
	for _, s := range signals {
		f.Signal(s)
	}
	for f.writer.take() {
		f.writer.flush()
	}
	if trouble := f.Trouble(); trouble != nil {
		t.Fatal(trouble)
	}
}

func (f *File) samples(t testing.TB, from, until time.Time) (all []health.Signal) {
	t.Helper()
	for s, err := range f.Samples(context.Background(), "exo", from, until) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// TestWhatIsRecordedComesBack, verbatim, also by another process.
func TestWhatIsRecordedComesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	f := opened(t, path, Options{})
	begun := f.Begun()
	want := probe(1, health.Outage, "192.0.2.1:25")
	f.Signal(want)
	f.Signal(probe(2, health.OK, "192.0.2.1:25"))
	change := health.Change{At: at(1), Upstream: "exo", Kind: health.ChangeState, From: "up", To: "down", Why: "bad"}
	f.Change(change)
	f.Change(health.Change{At: at(2), Upstream: "other", Kind: health.ChangeState, To: "up"})
	second := health.Incident{ID: "INC-2026-03-12-2", Opened: at(5)}
	for _, i := range []health.Incident{second, {ID: "INC-2026-03-12-1", Opened: at(1), Moments: []health.Moment{{At: at(1), What: "opened"}}}} {
		if err := f.PutIncident(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	f = opened(t, path, Options{})
	if got := f.samples(t, time.Time{}, time.Time{}); len(got) != 2 || got[0] != want {
		t.Errorf("%+v", got)
	}
	if got := f.samples(t, at(2), at(3)); len(got) != 1 || !got[0].At.Equal(at(2)) {
		t.Errorf("%+v", got)
	}
	if got := f.samples(t, at(0), at(1)); got != nil {
		t.Errorf("%+v", got)
	}
	for upstream, n := range map[string]int{"exo": 1, "": 2, "none": 0} {
		all := 0
		for c, err := range f.Changes(context.Background(), upstream, at(0), at(10)) {
			if all++; err != nil || upstream == "exo" && c != change {
				t.Errorf("%+v %v", c, err)
			}
		}
		if all != n {
			t.Errorf("%d changes of %q", all, upstream)
		}
	}
	if all, err := f.Incidents(); err != nil || len(all) != 2 || all[1].ID != second.ID || all[0].Moments[0].What != "opened" {
		t.Errorf("%+v %v", all, err)
	}
	if !f.Begun().Equal(begun) || begun.IsZero() {
		t.Errorf("begun %v and %v", begun, f.Begun())
	}
	for range f.Samples(context.Background(), "none", at(0), at(1)) {
		t.Error("a sample of nobody")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, err := range f.Samples(ctx, "exo", at(0), at(1)) {
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// TestCopy: a copy is a whole file.
func TestCopy(t *testing.T) {
	f := fresh(t, Options{})
	f.written(t, probe(1, health.Outage, "a"))
	path := filepath.Join(t.TempDir(), "copy.db")
	out, err := os.Create(path)
	if err == nil {
		err = errors.Join(f.Copy(out), out.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := opened(t, path, Options{}).samples(t, time.Time{}, time.Time{}); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

// TestLongListings are read in pieces, and may be left.
func TestLongListings(t *testing.T) {
	f := fresh(t, Options{})
	n := 2*readMost + 1
	var all []health.Signal
	for i := range n {
		all = append(all, probe(i, health.Outage, "a"))
	}
	f.written(t, all...)
	if got := f.samples(t, time.Time{}, time.Time{}); len(got) != n || !got[n-1].At.Equal(at(n-1)) {
		t.Errorf("%d samples", len(got))
	}
	seen := 0
	for range f.Samples(context.Background(), "exo", time.Time{}, time.Time{}) {
		if seen++; seen == 3 {
			break
		}
	}
	for range f.Changes(context.Background(), "", time.Time{}, time.Time{}) {
		t.Error("a change")
	}
}

// TestNobodyWaits: what the writer cannot keep up with is left out, and told.
func TestNobodyWaits(t *testing.T) {
	f := fresh(t, Options{})
	for i := range maxWaiting + 3 {
		f.Signal(probe(i, health.Outage, "a"))
	}
	if trouble := f.Trouble(); len(trouble) != 1 || !strings.HasPrefix(trouble[0], "3 signals") {
		t.Error(trouble)
	}
}

// TestTheWriter writes a change at once, and signals after a while, together.
func TestTheWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	synctest.Test(t, func(t *testing.T) {
		f := opened(t, path, Options{})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); f.Run(ctx) }()
		now := time.Now()
		f.Signal(health.Signal{At: now, Upstream: "exo", Class: health.Outage})
		synctest.Wait()
		if got := f.samples(t, time.Time{}, time.Time{}); got != nil {
			t.Errorf("written at once: %+v", got)
		}
		time.Sleep(writeAfter)
		synctest.Wait()
		if got := f.samples(t, time.Time{}, time.Time{}); len(got) != 1 {
			t.Errorf("%+v", got)
		}
		f.Signal(health.Signal{At: now.Add(1), Upstream: "exo", Class: health.Outage})
		f.Change(health.Change{At: now, Upstream: "exo", To: "down"})
		synctest.Wait()
		if got := f.samples(t, time.Time{}, time.Time{}); len(got) != 2 {
			t.Errorf("a change waits: %+v", got)
		}
		accepted := health.Signal{Upstream: "exo", Source: health.SourceAttempt, Class: health.OK}
		for range 25 { // of 25 seconds
			accepted.At = time.Now()
			f.Signal(accepted)
			time.Sleep(time.Second)
		}
		time.Sleep(trimEvery)
		f.Signal(health.Signal{At: now.Add(2), Upstream: "exo", Class: health.Outage})
		synctest.Wait()
		cancel()
		<-done
		if got := f.samples(t, time.Time{}, time.Time{}); len(got) != 2+3+1 {
			t.Errorf("%d samples", len(got))
		}
	})
}

// TestOldSamples: what is old goes, good samples are thinned out, but not those of incidents.
func TestOldSamples(t *testing.T) {
	const day = 24 * 60
	f := fresh(t, Options{Keep: 10 * 24 * time.Hour, Fine: 24 * time.Hour})
	var all []health.Signal
	for i := range 30 { // every minute, of two addresses
		all = append(all, probe(-11*day+i, health.OK, "a"), probe(-5*day+i, health.OK, "a"), probe(-5*day+i, health.OK, "b"), probe(-4*day+i, health.Outage, "a"), probe(-3*day+i, health.OK, "a"), probe(-30+i, health.OK, "a"))
	}
	f.written(t, all...)
	f.Change(health.Change{At: at(-11 * day), Upstream: "exo"})
	f.Change(health.Change{At: at(-1), Upstream: "exo"})
	f.written(t)
	for _, i := range []health.Incident{{ID: "a", Upstream: "exo", State: health.IncidentClosed, Began: at(-3*day + 10), ClosedAt: at(-3*day + 20)},
		{ID: "b", Upstream: "exo", State: health.IncidentClosed, ClosedAt: at(-3 * 365 * day)}, {ID: "c", State: health.IncidentOpen, Opened: at(-3 * 365 * day)}} {
		if err := f.PutIncident(i); err != nil {
			t.Fatal(err)
		}
	}
	count := func() map[string]int {
		counts := map[string]int{}
		for _, s := range f.samples(t, time.Time{}, time.Time{}) {
			counts[s.At.Format("2 ")+s.Address]++
		}
		return counts
	}
	for range 2 {
		f.trim(noon)
		// Of the third day those from 0 on are kept: the incident began at 10, and what led to it stays.
		want := map[string]int{"7 a": 3, "7 b": 3, "8 a": 30, "9 a": 21, "12 a": 30}
		if got := count(); len(got) != len(want) || got["7 a"] != 3 || got["7 b"] != 3 || got["8 a"] != 30 || got["9 a"] < 20 || got["9 a"] > 22 || got["12 a"] != 30 {
			t.Errorf("%v, want %v", got, want)
		}
	}
	changes := 0
	for range f.Changes(context.Background(), "", time.Time{}, time.Time{}) {
		changes++
	}
	if all, err := f.Incidents(); err != nil || len(all) != 2 || changes != 1 {
		t.Errorf("%+v, %d changes, %v", all, changes, err)
	}
}

// TestSize: the oldest samples go first, and then changes.
func TestSize(t *testing.T) {
	f := fresh(t, Options{Bytes: 1 << 20})
	long := probe(0, health.Outage, "a")
	long.Reply = strings.Repeat("x", 400)
	for i := range 6000 {
		long.At = at(i)
		f.Signal(long)
		if i%3000 == 2999 {
			f.written(t)
		}
	}
	f.trim(at(6000))
	got := f.samples(t, time.Time{}, time.Time{})
	if len(got) == 0 || len(got) > 3000 || !got[len(got)-1].At.Equal(at(5999)) {
		t.Errorf("%d samples", len(got))
	}
	for i := range 6000 {
		f.Change(health.Change{At: at(i), Why: long.Reply})
		if i%3000 == 2999 {
			f.written(t)
		}
	}
	f.trim(at(6000))
	changes := 0
	for range f.Changes(context.Background(), "", time.Time{}, time.Time{}) {
		changes++
	}
	if got := f.samples(t, time.Time{}, time.Time{}); len(got) != 0 || changes == 0 || changes > 3000 {
		t.Errorf("%d samples, %d changes", len(got), changes)
	}
}

// TestTooManyIncidents: the oldest closed ones go.
func TestTooManyIncidents(t *testing.T) {
	f := fresh(t, Options{})
	var all []health.Incident
	for i := range maxIncidents + 2 {
		all = append(all, health.Incident{ID: health.NewIncidentID(at(24*60*i), nil), State: health.IncidentClosed, Opened: at(24 * 60 * i), ClosedAt: noon})
	}
	for _, i := range all[:3] {
		if err := f.PutIncident(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.do(f.updating(func(tx *bbolt.Tx) error { return forget(tx, all, noon) })); err != nil {
		t.Fatal(err)
	}
	if left, err := f.Incidents(); err != nil || len(left) != 1 || left[0].ID != all[2].ID {
		t.Errorf("%+v %v", left, err)
	}
}

// damagedFiles are what may be found in the place of the file.
func damagedFiles(whole []byte) map[string][]byte {
	zeros := append([]byte(nil), whole...)
	for i := 2 * os.Getpagesize(); i < len(zeros); i++ {
		zeros[i] = 0
	}
	noise := append([]byte(nil), whole...)
	for i := 2 * os.Getpagesize(); i < len(noise); i++ {
		noise[i] = byte(i * 7)
	}
	return map[string][]byte{"cut": whole[:len(whole)/3], "text": []byte(strings.Repeat("no database\n", 1000)), "zeros": zeros, "noise": noise}
}

// TestADamagedFile is set aside, and a new one begun.
func TestADamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	f := opened(t, path, Options{})
	var all []health.Signal
	for i := range 100 {
		all = append(all, probe(i, health.Outage, "a"))
	}
	f.written(t, all...)
	f.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range damagedFiles(whole) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "history.db")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			f := Open(path, Options{})
			defer f.Close()
			if trouble := f.Trouble(); len(trouble) != 1 || !strings.Contains(trouble[0], "set aside as history.db.damaged-") {
				t.Fatal(trouble)
			}
			if aside, _ := filepath.Glob(path + ".damaged-*"); len(aside) != 1 {
				t.Error(aside)
			}
			if err := f.PutIncident(health.Incident{ID: "a"}); err != nil {
				t.Error(err)
			}
		})
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	f = opened(t, path, Options{})
	if err := f.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketIncidents).Put([]byte("a"), []byte("{")) }); err != nil {
		t.Fatal(err)
	}
	if all, err := f.Incidents(); err == nil {
		t.Error(all)
	}
	f.Close()
	if f = Open(path, Options{}); len(f.Trouble()) != 1 {
		t.Error("an incident that is no JSON:", f.Trouble())
	}
	f.Close()
}

// TestNoFile: nothing is kept, nobody fails, and it is told.
func TestNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	f := Open(path, Options{})
	if trouble := f.Trouble(); len(trouble) != 1 || !strings.HasPrefix(trouble[0], "nothing is recorded") {
		t.Error(trouble)
	}
	f.Signal(probe(0, health.OK, "a"))
	f.trim(noon)
	if _, err := f.Incidents(); !errors.Is(err, ErrOff) {
		t.Error(err)
	}
	if err := f.PutIncident(health.Incident{ID: "a"}); !errors.Is(err, ErrOff) {
		t.Error(err)
	}
	if !f.Begun().IsZero() || f.Close() != nil {
		t.Error("it has a file")
	}
}

// TestDamageWhileItIsOpen: a transaction that panics ends all use of the file.
func TestDamageWhileItIsOpen(t *testing.T) {
	f := fresh(t, Options{})
	if err := f.do(func() error { panic("page 7 has a wrong type") }); !errors.Is(err, ErrOff) {
		t.Error(err)
	}
	if err := f.do(func() error { return nil }); !errors.Is(err, ErrOff) {
		t.Error("it is used again:", err)
	}
	if trouble := f.Trouble(); len(trouble) != 1 || !strings.Contains(trouble[0], "page 7") {
		t.Error(trouble)
	}
	f.Signal(probe(0, health.Outage, "a"))
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestADiskThatIsFullForAWhile: what was to be written is lost, and told until writing goes well.
func TestADiskThatIsFullForAWhile(t *testing.T) {
	f := fresh(t, Options{})
	f.noted(syscall.ENOSPC)
	f.noted(syscall.ENOSPC)
	if trouble := f.Trouble(); len(trouble) != 1 || !strings.Contains(trouble[0], "no space left") {
		t.Error(trouble)
	}
	f.noted(ErrOff)
	if err := f.PutIncident(health.Incident{ID: "a"}); err != nil || f.Trouble() != nil {
		t.Error(err, f.Trouble())
	}
	if err := f.PutIncident(health.Incident{}); err == nil || strings.Contains(err.Error(), "bbolt") {
		t.Error("an incident without an id:", err)
	}
	f.put(event{change: &health.Change{}})
	f.db.Close()
	for f.writer.take() {
		f.writer.flush()
	}
	f.trim(noon)
	if trouble := f.Trouble(); len(trouble) != 2 {
		t.Error(trouble)
	}
	f.db = nil
}
