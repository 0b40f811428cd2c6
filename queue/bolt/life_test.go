package bolt

import (
	"testing"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// manySmallFiles makes a store begin a file about every tenth message.
func manySmallFiles() Options { return Options{GenerationSize: 200 << 10, Interrupted: -1} }

// TestRandomLifeOverRestarts closes the store and opens it again before every act.
func TestRandomLifeOverRestarts(t *testing.T) {
	for name, o := range map[string]Options{"one file": {Interrupted: -1}, "many files": manySmallFiles()} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, o)
			queuetest.Live(t, 300, func() queue.Store {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, dir, o)
				return s
			})
			if n := len(row(t, s)); (n > 1) != (o.GenerationSize > 0) {
				t.Errorf("the store has %d files", n)
			}
		})
	}
}

// TestRandomLifeOverCopies goes on with a copy of the files, as the end of the
// process at that instant leaves them.
func TestRandomLifeOverCopies(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, manySmallFiles())
	queuetest.Live(t, 150, func() queue.Store {
		next := t.TempDir()
		copyFiles(t, dir, next)
		dir, s = next, open(t, next, manySmallFiles())
		return s
	})
}
