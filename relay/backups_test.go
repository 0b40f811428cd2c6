package relay

import (
	"errors"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/backup"
)

// TestBackups of a relay that runs: they are remembered over a restart, one is
// made at a time, and what is refused or fails says why.
func TestBackups(t *testing.T) {
	t.Parallel()
	c, exo := configured(t)
	play(t, exo, "down")
	r := run(t, c)
	r.log.await(t, "health.changed", "to=down")
	r.accept("a@corp.example")
	above := t.TempDir()
	progress := func(admin.BackupProgress) {}
	for i := range madeKept + 1 {
		made, err := r.client.MakeBackup(t.Context(), filepath.Join(above, strconv.Itoa(i)), progress)
		if err != nil || made.Messages != 1 || made.Damaged != 0 {
			t.Fatalf("made %+v, %v", made, err)
		}
	}
	refused := func(rule, dir, code string) {
		t.Helper()
		refusal := &admin.Error{}
		if _, err := r.client.MakeBackup(t.Context(), dir, progress); !errors.As(err, &refusal) || refusal.Code != code {
			t.Errorf("%s: %v", rule, err)
		}
	}
	refused("it exists", filepath.Join(above, "0"), admin.CodeBadDestination)
	b := r.backups(nil)
	b.busy.Lock()
	if _, err := b.Make(t.Context(), filepath.Join(above, "busy"), nil); err == nil || err.Error() != backup.ErrBusy.Error() {
		t.Errorf("busy: %v", err)
	}
	r.breakState(t)
	refused("a state that cannot be read", filepath.Join(above, "fails"), admin.CodeBackupFailed)
	r.log.await(t, "backup.failed")
	b.remember(admin.Backup{})
	r.log.await(t, "backups.forgotten")
	r.log.await(t, "backups.unsaved")
	if found, err := backup.List(above); err != nil || len(found) != madeKept+1 {
		t.Errorf("%d backups, %v", len(found), err)
	}
	r.stop()
	r = run(t, c)
	list, err := r.client.Backups(t.Context())
	if err != nil || len(list.Backups) != madeKept || list.Backups[0].Dir != filepath.Join(above, strconv.Itoa(madeKept)) {
		t.Errorf("list %+v, %v", list, err)
	}
	if st := r.status(); !st.BackupAt.Equal(list.Backups[0].MadeAt.Time) {
		t.Errorf("the last one is of %s", st.BackupAt)
	}
}

// breakState closes the file of the state.
func (r *running) breakState(t *testing.T) {
	t.Helper()
	if err := r.state.Close(); err != nil {
		t.Fatal(err)
	}
}
