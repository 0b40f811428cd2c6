package bolt

import (
	"os"
	"testing"
)

// TestBesideBackup: small messages are committed beside a backup. How long that
// takes is judged with MXKEEP_SOAK=1 only, and if the machine has nothing else
// to do.
func TestBesideBackup(t *testing.T) {
	s := open(t, t.TempDir(), Options{GenerationSize: 64 << 20})
	count, size := 20, 1<<20
	if os.Getenv("MXKEEP_SOAK") != "" {
		count = 1000
	}
	for range count {
		accept(t, s, benchAcceptance(t), make([]byte, size))
	}
	alone := beside(t, s, 100, func() {})
	dir := t.TempDir()
	took := beside(t, s, 10, func() {
		if _, err := s.Backup(t.Context(), dir, func(int64, int64) {}); err != nil {
			t.Error(err)
		}
	})
	for name, l := range map[string]latencies{"alone": alone, "beside": took} {
		t.Logf("%s: %d commits, median %s, p99 %s, at most %s", name, len(l), l[len(l)/2], l.p99(), l.most())
	}
	if os.Getenv("MXKEEP_SOAK") != "" && alone.most() < maxStall/4 && took.most() > maxStall {
		t.Errorf("a commit took %s", took.most())
	}
}
