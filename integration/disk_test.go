//go:build linux

package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/faultfs"
	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/queue"
)

// exitDisk is the exit code of a relay whose disk has failed.
const exitDisk = 74

// needsFUSE skips a test where no disk of ours can be mounted.
func needsFUSE(t *testing.T) {
	t.Helper()
	if err := faultfs.Available(); err != nil {
		t.Skipf("a disk that fails needs FUSE: %v", err)
	}
}

// diskRun is a relay on a disk of ours, its primary and its clients.
type diskRun struct {
	t        *testing.T
	base     string
	disk     *faultfs.Disk
	upstream *primary.Server
	journal  *diskJournal
}

func newDiskRun(t *testing.T, authority *primary.Authority, o faultfs.Options) *diskRun {
	t.Helper()
	d := &diskRun{t: t, base: t.TempDir(), journal: newDiskJournal()}
	for _, name := range []string{d.data(), d.mount()} {
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	d.upstream, err = primary.Start(t.Context(), primary.Options{Addresses: []string{"127.0.0.2:0"}, Domains: []string{"corp.example"},
		Recipients: []string{diskKnown}, Authority: authority})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.upstream.Close() })
	d.insert(o)
	return d
}

// insert mounts the disk.
func (d *diskRun) insert(o faultfs.Options) {
	d.t.Helper()
	var err error
	if d.disk, err = faultfs.Mount(d.data(), d.mount(), o); err != nil {
		d.t.Fatal(err)
	}
	disk := d.disk
	d.t.Cleanup(func() { disk.Unmount() }) // fails if it was done before
}

// data is the folder behind the disk, mount where it is seen.
func (d *diskRun) data() string  { return filepath.Join(d.base, "data") }
func (d *diskRun) mount() string { return filepath.Join(d.base, "mnt") }

func (d *diskRun) start(data, queue string) *diskRelay {
	return startDiskRelay(d.t, d.base, data, d.upstream.Addrs()[0].String(), queue)
}

// offer sends messages one after the other over one session, until one is refused.
func (d *diskRun) offer(r *diskRelay, all ...diskMail) (ids []string) {
	c, _ := dialDisk(r.address)
	if c == nil {
		return nil
	}
	defer c.Close()
	for _, m := range all {
		id, reply, err := d.journal.send(c, m)
		if err != nil {
			d.t.Error(err)
		}
		if id == "" {
			if !d.disk.Struck() {
				d.t.Errorf("the relay says %+v on a disk that is well", reply)
			}
			break
		}
		ids = append(ids, id)
	}
	return ids
}

// live is what happens on the disk, from an empty folder on: mail comes in over
// two sessions and goes out, one message stays and is held by an operator, who
// stops deliveries for a moment; the relay is stopped and started again, and
// with its next mail begins the next file. It breaks off when the relay ends by
// itself, or says no to the operator, and returns the last one that ran.
func (d *diskRun) live() *diskRelay {
	r := d.start(d.mount(), "")
	if !r.isReady() {
		return r
	}
	var stays []string
	var group sync.WaitGroup
	group.Go(func() { stays = d.offer(r, newDiskMail("stays", diskUnknown, 2000)) })
	d.offer(r, newDiskMail("small", diskKnown, 1000), newDiskMail("large", diskKnown, 100_000))
	group.Wait()
	if !d.delivered(r) || len(stays) == 0 || !d.operate(r, stays[0]) || r.stop() != 0 {
		r.stop()
		return r
	}
	r = d.start(d.mount(), "  generation_age: 1ms")
	if !r.isReady() {
		return r
	}
	d.offer(r, newDiskMail("again", diskKnown, 1000))
	if d.delivered(r) {
		r.stop()
	}
	return r
}

// operate is what the operator does. It stops at the first no.
func (d *diskRun) operate(r *diskRelay, id string) bool {
	for _, act := range [][]string{{"hold", id, "--reason", "test"}, {"pause", "--outbound", "--yes", "--reason", "test"}, {"resume", "--outbound"}} {
		if err := r.command(append([]string{"queue"}, act...)...); err != nil {
			if !d.disk.Struck() {
				r.fatal("%v", err)
			}
			return false
		}
		d.journal.held[queue.ID(id)] = true
	}
	return true
}

// delivered waits until the primary has all it should; not if the relay ends.
func (d *diskRun) delivered(r *diskRelay) bool {
	ctx, cancel := r.within()
	defer cancel()
	err := d.journal.deliver(ctx, d.upstream)
	if err == nil {
		return true
	}
	select {
	case <-r.ended:
	default:
		r.fatal("%v", err)
	}
	return false
}

// recover starts a relay where the disk is well again, and wants all of it: it
// takes mail, delivers what it owes, ends well, and nothing is missing.
func (d *diskRun) recover() {
	d.t.Helper()
	r := d.start(d.data(), "")
	if !r.isReady() {
		r.fatal("no start on a disk that is well")
	}
	if err := r.command("queue", "resume", "--outbound"); err != nil {
		r.fatal("%v", err)
	}
	if len(d.offer(r, newDiskMail("afterwards", diskKnown, 1000))) != 1 {
		r.fatal("no mail is taken on a disk that is well")
	}
	if !d.delivered(r) {
		r.fatal("it ended")
	}
	if code := r.stop(); code != 0 {
		r.fatal("exit code %d", code)
	}
	if err := d.journal.check(d.data(), d.upstream.Received()); err != nil {
		r.fatal("%v", err)
	}
}

// diskFault is a kind of fault.
type diskFault struct {
	name  string
	fault faultfs.Fault // without its number
	lossy bool          // what was not synced is lost when the relay has ended
}

func diskFaults() (all []diskFault) {
	for _, o := range []faultfs.Op{faultfs.Write, faultfs.Sync, faultfs.Truncate} {
		for _, e := range []syscall.Errno{syscall.EIO, syscall.ENOSPC, faultfs.Short} {
			if e == faultfs.Short && o != faultfs.Write {
				continue
			}
			for _, lasting := range []bool{false, true} {
				name := map[syscall.Errno]string{syscall.EIO: "EIO", syscall.ENOSPC: "ENOSPC", faultfs.Short: "short"}[e]
				name = fmt.Sprintf("%s of %s, %s", name, o, map[bool]string{false: "once", true: "for good"}[lasting])
				all = append(all, diskFault{name, faultfs.Fault{Op: o, Error: e, Lasting: lasting}, false})
				if o == faultfs.Sync && e == syscall.EIO {
					all = append(all, diskFault{name + ", with loss", faultfs.Fault{Op: o, Error: e, Lasting: lasting}, true})
				}
			}
		}
	}
	return all
}

// diskAbreast is how many runs there are at a time.
const diskAbreast = 4

// TestDiskFaults lets the same short life fail at its first write, its second,
// and so on, until it comes to its end before the fault is reached; and so with
// each kind of fault. Whatever fails, nothing that was promised is lost.
func TestDiskFaults(t *testing.T) {
	needsFUSE(t)
	authority, err := primary.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range diskFaults() {
		t.Run(kind.name, func(t *testing.T) {
			var next atomic.Int64
			var done atomic.Bool
			var codes sync.Map // exit code to *atomic.Int64
			began := time.Now()
			t.Run("runs", func(t *testing.T) {
				for range diskAbreast {
					t.Run("", func(t *testing.T) {
						t.Parallel()
						for !done.Load() && !t.Failed() {
							fault := kind.fault
							fault.Number = int(next.Add(1))
							t.Run(fmt.Sprint(fault.Number), func(t *testing.T) {
								code, struck := faultyRun(t, authority, fault, kind.lossy)
								n, _ := codes.LoadOrStore(code, new(atomic.Int64))
								n.(*atomic.Int64).Add(1)
								if !struck {
									done.Store(true)
								}
							})
						}
					})
				}
			})
			text := ""
			codes.Range(func(code, n any) bool {
				text += fmt.Sprintf(", %d of exit code %d", n.(*atomic.Int64).Load(), code)
				return true
			})
			t.Logf("%d runs in %s%s", next.Load(), time.Since(began).Round(time.Millisecond), text)
		})
	}
}

// faultyRun is one run with one fault. It reports the exit code of the relay
// and whether the fault was reached.
func faultyRun(t *testing.T, authority *primary.Authority, fault faultfs.Fault, lossy bool) (code int, struck bool) {
	t.Helper()
	d := newDiskRun(t, authority, faultfs.Options{Fault: fault})
	r := d.live()
	code, struck = r.exit(), d.disk.Struck()
	if code == 74 && fault.Error == faultfs.Short && !fault.Lasting {
		t.Log(r.story())
	}
	if code != 0 && (code != exitDisk || !struck) {
		r.fatal("%+v, reached: %t: exit code %d", fault, struck, code)
	}
	err := d.disk.Unmount()
	if lossy {
		err = errors.Join(err, d.disk.Lose(nil))
	}
	if err := errors.Join(err, d.disk.Close()); err != nil {
		t.Fatal(err)
	}
	d.recover()
	if t.Failed() {
		r.fatal("%+v, reached: %t: exit code %d", fault, struck, code)
	}
	return code, struck
}
