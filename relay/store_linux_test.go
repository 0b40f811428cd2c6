package relay

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// breakDisk makes every later write to the queue fail, as a disk does that
// turned read-only: another description takes the place of the open one.
func (r *running) breakDisk() {
	r.t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, entry := range open {
		path, err := os.Readlink("/proc/self/fd/" + entry.Name())
		if err != nil || !strings.HasPrefix(path, r.config.Data+"/queue/gen-") || !strings.HasSuffix(path, ".db") { // nor a summary that is being written
			continue
		}
		number, err := strconv.Atoi(entry.Name())
		if err != nil {
			r.t.Fatal(err)
		}
		readOnly, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			r.t.Fatal(err)
		}
		if err := errors.Join(syscall.Dup3(readOnly, number, syscall.O_CLOEXEC), syscall.Close(readOnly)); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	r.t.Fatal("the queue is not open")
}

// TestADiskThatFails: nothing more is accepted, and the relay ends with an
// error, so that a restart shows what was kept.
func TestADiskThatFails(t *testing.T) {
	t.Parallel()
	c, exo := configured(t)
	play(t, exo, "down")
	r := run(t, c)
	r.log.await(t, "health.changed", "to=down")
	r.accept("a@corp.example")
	r.breakDisk()
	wantReply(t, r.offer("b@corp.example"), "451 ")
	if err := r.end(); err == nil || !strings.Contains(err.Error(), ": the store takes no further change: ") || !errors.Is(err, syscall.EBADF) {
		t.Errorf("Run: %v", err)
	}
	r = run(t, c)
	if st := r.status(); st.Account.Accepted != 1 || st.Queue.Messages != 1 {
		t.Errorf("account %+v", st.Account)
	}
}

// TestADiskThatFailsWhileStopping: it is an error although the end was wanted.
func TestADiskThatFailsWhileStopping(t *testing.T) {
	t.Parallel()
	c, exo := configured(t)
	play(t, exo, "down")
	r := run(t, c)
	data := r.begun("a@corp.example")
	r.cancel()
	r.log.await(t, "relay.stopping")
	r.breakDisk()
	if _, err := io.WriteString(data, content); err != nil {
		t.Fatal(err)
	}
	wantReply(t, data.Close(), "451 ")
	if err := r.end(); !errors.Is(err, syscall.EBADF) {
		t.Errorf("Run: %v", err)
	}
}
