package backup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/mxkeep/mxkeep/queue"
)

func TestRestoreWhole(t *testing.T) {
	r := newRig(t, t.TempDir())
	r.accept(20, 1000)
	if err := errors.Join(r.store.FileLedger(t.Context()), r.state.Put("test", "key", "value")); err != nil {
		t.Fatal(err)
	}
	dir, _ := r.make("one")
	b := verified(t, dir)
	for rule, asHeld := range map[string]bool{"held": true, "to be delivered": false} {
		data := filepath.Join(r.dir, rule)
		target := Target{Data: data, AsHeld: asHeld, Actor: "carol", DryRun: true, Watch: func(int64) {}}
		plan, err := b.Restore(t.Context(), target)
		if err != nil || plan.Messages != 20 || plan.Recipients != 20 || !plan.Whole || !plan.State {
			t.Errorf("%s: plan %+v, %v", rule, plan, err)
		}
		if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a dry run left %v", rule, err)
		}
		target.DryRun = false
		if did, err := b.Restore(t.Context(), target); err != nil || did != plan {
			t.Errorf("%s: did %+v, %v", rule, did, err)
		}
		stats, lines := held(t, data)
		if want := map[bool]int64{true: 20}[asHeld]; stats.Account.Held != want || stats.Account.Accepted != 20 || lines != 20 {
			t.Errorf("%s: account %+v, %d lines", rule, stats.Account, lines)
		}
		again := newRigAt(t, data)
		if chain, err := again.store.Verify(t.Context()); err != nil || len(chain.Faults) > 0 || chain.Lines < 20 {
			t.Errorf("%s: chain %+v, %v", rule, chain, err)
		}
		var value string
		if found, err := again.state.Get("test", "key", &value); !found || err != nil || value != "value" {
			t.Errorf("%s: state %q, %v", rule, value, err)
		}
		again.close()
		if did, err := b.Restore(t.Context(), target); err != nil || did.Messages != 0 || did.Present != 20 || did.Whole || did.State {
			t.Errorf("%s: again %+v, %v", rule, did, err)
		}
	}
}

// newRigAt opens a data folder that there is.
func newRigAt(t *testing.T, data string) *rig {
	t.Helper()
	link := filepath.Join(t.TempDir(), "data")
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	return newRig(t, filepath.Dir(link))
}

// TestRestoreAmongOthers: the queue that is there goes on.
func TestRestoreAmongOthers(t *testing.T) {
	r := newRig(t, t.TempDir())
	ids := r.accept(5, 100)
	dir, _ := r.make("one")
	b := verified(t, dir)
	claimed, err := r.store.Claim(t.Context(), ids[:1], 1e9)
	if err == nil {
		err = r.store.Settle(t.Context(), queue.Settlement{ID: ids[0], Attempt: claimed[0].Attempts, Results: map[int]queue.Result{0: {Action: queue.Delivered}}})
	}
	if err != nil {
		t.Fatal(err)
	}
	r.close()
	if did, err := b.Restore(t.Context(), Target{Data: r.source.Data, AsHeld: true}); err != nil || did.Messages != 0 || did.Present != 5 {
		t.Errorf("did %+v, %v", did, err)
	}
	other := newRig(t, t.TempDir())
	other.accept(2, 100)
	other.close()
	if err := os.Remove(filepath.Join(other.source.Data, stateName)); err != nil { // then the queue alone says who has it
		t.Fatal(err)
	}
	for _, dry := range []bool{true, false} {
		if did, err := b.Restore(t.Context(), Target{Data: other.source.Data, AsHeld: true, DryRun: dry, Watch: func(int64) {}}); err != nil || did.Messages != 5 || did.Whole || !did.State {
			t.Errorf("dry %t: did %+v, %v", dry, did, err)
		}
	}
	if stats, lines := held(t, other.source.Data); stats.Account.Held != 5 || stats.Account.Queued != 2 || lines != 2 {
		t.Errorf("account %+v, %d lines", stats.Account, lines)
	}
}

// TestRestoreRefuses what cannot be used, and ends with its context.
func TestRestoreRefuses(t *testing.T) {
	r := newRig(t, t.TempDir())
	r.accept(5, 100)
	dir, _ := r.make("one")
	b := verified(t, dir)
	target := Target{Data: filepath.Join(r.dir, "new"), AsHeld: true}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Restore(ctx, target); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	b.Manifest.Files[0].Sum[0] ^= 1
	if _, err := b.Restore(t.Context(), target); !errors.Is(err, ErrUnsound) {
		t.Errorf("a file that has changed meanwhile: %v", err)
	}
	if _, err := os.Stat(filepath.Join(target.Data, queueName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a queue: %v", err)
	}
	b.Manifest.Files[0].Sum[0] ^= 1
	if did, err := b.Restore(t.Context(), target); err != nil || did.Messages != 5 {
		t.Errorf("after that: %+v, %v", did, err)
	}
	file := filepath.Join(r.dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Restore(t.Context(), Target{Data: file}); err == nil {
		t.Error("a file is no folder")
	}
}

// childVariable names the folder that a child process works in.
const childVariable = "BACKUP_TEST_CHILD"

// TestKilledMake kills a process that makes backups: what has the name of one is
// whole.
func TestKilledMake(t *testing.T) {
	if dir := os.Getenv(childVariable); dir != "" {
		r := newRig(t, dir)
		r.accept(20, 50<<10)
		for i := range 1000 {
			_, err := r.source.Make(t.Context(), filepath.Join(dir, "backups", strconv.Itoa(i)), func(done, _ int64) { fmt.Println(done) })
			if err != nil && !errors.Is(err, ErrDestination) { // an earlier life made it
				panic(err)
			}
		}
		return
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "backups"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		lines := 50 + rand.IntN(1000)
		inChild(t, dir, func() bool { lines--; return lines == 0 })
	}
	found, err := List(filepath.Join(dir, "backups"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Err != nil {
			t.Errorf("%s: %v", f.Dir, f.Err)
		}
		if b := verified(t, f.Dir); b.Manifest.Held() < 20 {
			t.Errorf("%s has %d messages", f.Dir, b.Manifest.Held())
		}
	}
	t.Logf("%d backups", len(found))
}

// TestKilledPlace kills a process that puts a queue where there is none.
func TestKilledPlace(t *testing.T) {
	if dir := os.Getenv(childVariable); dir != "" {
		b := verified(t, filepath.Join(dir, "one"))
		fmt.Println("copies")
		target := Target{Data: filepath.Join(dir, "new"), AsHeld: true, Watch: func(n int64) { fmt.Println(n) }}
		target.Store.Check = func(_ context.Context, path string) error { fmt.Println(path); return nil }
		if _, err := b.Restore(t.Context(), target); err != nil {
			panic(err)
		}
		return
	}
	r := newRig(t, t.TempDir())
	r.accept(200, 100)
	r.make("one")
	kills := 0
	for _, lines := range []int{1, 2, 3, 1 + rand.IntN(200), 150 + rand.IntN(50), -1} {
		if inChild(t, r.dir, func() bool { lines--; return lines == 0 }) {
			kills++
		}
	}
	t.Logf("killed %d times", kills)
	stats, lines := held(t, filepath.Join(r.dir, "new"))
	if stats.Account.Held != 200 || stats.Account.Accepted != 200 || stats.Account.Missing() != 0 || lines != 200 {
		t.Errorf("account %+v, %d lines", stats.Account, lines)
	}
}

// inChild runs the test in a process of its own, and kills it when it has said
// something and kill says so. It reports whether it was killed.
func inChild(t *testing.T, dir string, kill func() bool) (killed bool) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v=false")
	child.Env = append(os.Environ(), childVariable+"="+dir)
	child.Stderr = os.Stderr
	output, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(output); lines.Scan(); {
		if killed || !kill() {
			continue
		}
		killed = true
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	if err := child.Wait(); err != nil && !killed {
		t.Fatalf("the child ended with %v", err)
	}
	return killed
}
