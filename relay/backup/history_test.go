package backup

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestTheHistoryIsInABackup, and comes back where there is none.
func TestTheHistoryIsInABackup(t *testing.T) {
	r := newRig(t, t.TempDir())
	r.accept(1, 1000)
	r.source.History = func(w io.Writer) error {
		_, err := io.WriteString(w, "a history")
		return err
	}
	dir, _ := r.make("one")
	b := verified(t, dir)
	r.close()
	fresh, mine := filepath.Join(r.dir, "fresh"), filepath.Join(r.dir, "mine")
	err := errors.Join(os.MkdirAll(mine, 0o700), os.WriteFile(filepath.Join(mine, historyName), []byte("mine"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	for data, want := range map[string]string{fresh: "a history", mine: "mine"} {
		if _, err := b.Restore(t.Context(), Target{Data: data, Actor: "carol"}); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(filepath.Join(data, historyName)); err != nil || string(text) != want {
			t.Errorf("%q, want %q; %v", text, want, err)
		}
	}
}

// TestAHistoryThatCannotBeRead keeps no backup from being made.
func TestAHistoryThatCannotBeRead(t *testing.T) {
	r := newRig(t, t.TempDir())
	r.source.History = func(w io.Writer) error {
		io.WriteString(w, "half")
		return errors.New("the file is damaged")
	}
	dir, m := r.make("one")
	for _, f := range m.Files {
		if f.Name == historyName {
			t.Errorf("%+v", m.Files)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, historyName)); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
