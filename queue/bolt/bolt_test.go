package bolt

import (
	"testing"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

func open(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// row are the generations of this moment.
func row(t testing.TB, s *Store) []*generation {
	t.Helper()
	all, err := s.all()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestContract(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queue.Store { return open(t, t.TempDir(), Options{}) })
}

func TestContractWithManyGenerations(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queue.Store { return open(t, t.TempDir(), Options{GenerationSize: 400 << 10}) })
}
