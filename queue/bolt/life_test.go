package bolt

import (
	"errors"
	"os"
	"testing"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// mortal is a store that may be closed and opened again, and whose process may
// end: a copy of its files, as they are at that instant, then takes its place.
type mortal struct {
	t       queuetest.T
	options Options
	store   *Store
	all     []*Store
	folders []string
}

func (m *mortal) open(dir string) {
	m.t.Helper()
	s, err := Open(dir, m.options)
	if err != nil {
		m.t.Fatal(err)
	}
	m.store, m.all = s, append(m.all, s)
}

func (m *mortal) folder() string {
	m.t.Helper()
	dir, err := os.MkdirTemp("", "bolt-life-")
	if err != nil {
		m.t.Fatal(err)
	}
	m.folders = append(m.folders, dir)
	return dir
}

func (m *mortal) reopen() {
	m.t.Helper()
	if err := m.store.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.open(m.store.dir)
}

func (m *mortal) crash() {
	m.t.Helper()
	dir := m.folder()
	copyFiles(m.t, m.store.dir, dir)
	m.open(dir)
}

func (m *mortal) end() {
	m.t.Helper()
	var errs []error
	for _, s := range m.all {
		errs = append(errs, s.Close())
	}
	for _, dir := range m.folders {
		errs = append(errs, os.RemoveAll(dir))
	}
	if err := errors.Join(errs...); err != nil {
		m.t.Error(err)
	}
}

// lives begins the life of a store. One that gives back while its files are
// copied would be copied in a state in which no process leaves it.
func lives(o Options, crashes bool) func(queuetest.T) queuetest.Life {
	return func(t queuetest.T) queuetest.Life {
		m := &mortal{t: t, options: o}
		m.open(m.folder())
		fates := map[string]func(){"reopen": m.reopen}
		if crashes {
			fates["crash"] = m.crash
		}
		return queuetest.Life{Store: func() queue.Store { return m.store }, Fates: fates, End: m.end}
	}
}

func TestLivesInOneFile(t *testing.T) {
	queuetest.Live(t, lives(Options{GenerationSize: 4 << 20, Interrupted: -1, Check: inProcess}, true))
}

// TestLivesInManyFiles: a file is begun about every third message.
func TestLivesInManyFiles(t *testing.T) {
	queuetest.Live(t, lives(Options{GenerationSize: 100 << 10, Interrupted: -1, Check: inProcess}, true))
}

// TestLivesWhileGivingBack: nothing stays where it was.
func TestLivesWhileGivingBack(t *testing.T) { queuetest.Live(t, lives(restless(), false)) }
