//go:build linux

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// TestFullDisk fills a small disk. Senders are told 452 while there is still
// room for what the relay has to write for its deliveries; those go on, to the
// last one, and give the disk back; then mail is taken without anybody's help.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	const minFree = 16 << 20
	d := newDiskRun(t, nil)
	if err := syscall.Mount("tmpfs", d.data(), "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.data(), syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	others := filepath.Join(d.data(), "of others")
	if err := os.WriteFile(others, make([]byte, 20<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	r := d.start(d.data(), diskSettings{minFree: "16MiB", inbound: "  limits:\n    message_size: 1MiB\n", queue: "  generation_size: 4MiB\n"})
	if !r.isReady() {
		r.fatal("no start")
	}
	if err := r.command("queue", "pause", "--outbound", "--yes", "--reason", "test"); err != nil {
		t.Fatal(err)
	}
	status := &daemon{t: t, client: admin.NewClient(r.socket)}
	full := func(s admin.Status) bool { return strings.Contains(s.Inbound.Refusing, "free space") }

	var filling sync.WaitGroup
	for i := range 4 {
		filling.Go(func() { d.fill(r, fmt.Sprint("filling", i)) })
	}
	filling.Wait()
	free := diskFree(t, d.data())
	if free < minFree/2 {
		t.Errorf("only %d bytes were left when senders were refused", free)
	}
	status.until("relay that says why it refuses", diskLimit, full)
	if err := r.command("queue", "resume", "--outbound"); err != nil {
		t.Fatal(err)
	}
	if !d.delivered(r) {
		r.fatal("it ended on a full disk")
	}
	t.Logf("%d messages were taken, %d MiB were left, and %d MiB after their deliveries", len(d.journal.promised), free>>20, diskFree(t, d.data())>>20)

	status.until("relay that takes mail again", 3*diskLimit, func(s admin.Status) bool { return !full(s) })
	d.offerUntilTaken(r, newDiskMail("again", diskKnown, 1000))
	if !d.delivered(r) || r.stop() != 0 {
		r.fatal("exit code %d", r.exit())
	}
	if err := d.journal.check(d.data(), d.upstream.Received()); err != nil {
		t.Error(err)
	}
}

// fill sends messages until one is refused, which must be for the lack of room.
func (d *diskRun) fill(r *diskRelay, name string) {
	for n := 0; ; n++ {
		ids, reply := d.offer(r, newDiskMail(fmt.Sprintf("%s-%d", name, n), diskKnown, 100_000))
		if len(ids) == 1 {
			continue
		}
		if reply.code != 452 || !strings.HasPrefix(reply.text, "4.3.1 ") {
			d.t.Errorf("on a full disk: %+v", reply)
		}
		return
	}
}

// offerUntilTaken offers a message until it is taken, as a sender does that is
// told to try again, but more often.
func (d *diskRun) offerUntilTaken(r *diskRelay, m diskMail) {
	d.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(diskLimit); ; {
		ids, reply := d.offer(r, m)
		if len(ids) == 1 {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			r.fatal("it is not taken: %+v", reply)
		}
	}
}

// diskFree is what a file system has left, in bytes.
func diskFree(t *testing.T, path string) int64 {
	t.Helper()
	var stat syscall.Statfs_t
	if err := syscall.Statfs(path, &stat); err != nil {
		t.Fatal(err)
	}
	return int64(stat.Bavail) * stat.Bsize
}
