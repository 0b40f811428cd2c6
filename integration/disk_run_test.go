//go:build linux

package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

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

// diskRun is a relay whose data is on a disk of ours, its primary and its clients.
type diskRun struct {
	t        *testing.T
	base     string
	disk     *faultfs.Disk
	upstream *primary.Server
	journal  *diskJournal
}

// newDiskRun makes an empty folder, and starts the primary. The authority may be nil.
func newDiskRun(t *testing.T, authority *primary.Authority) *diskRun {
	t.Helper()
	d := &diskRun{t: t, base: t.TempDir(), journal: newDiskJournal()}
	if err := errors.Join(os.Mkdir(d.data(), 0o700), os.Mkdir(d.mount(), 0o700)); err != nil {
		t.Fatal(err)
	}
	var err error
	d.upstream, err = primary.Start(t.Context(), primary.Options{Addresses: []string{"127.0.0.2:0"}, Domains: []string{"corp.example"},
		Recipients: []string{diskKnown}, Authority: authority})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.upstream.Close() })
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
	d.t.Cleanup(func() { disk.Unmount() }) // does nothing if eject was called
}

// eject unmounts the disk, which nobody uses any more. lose is what becomes of
// what was not synced.
func (d *diskRun) eject(lose func(*faultfs.Disk) error) {
	d.t.Helper()
	if err := errors.Join(d.disk.Unmount(), lose(d.disk), d.disk.Close()); err != nil {
		d.t.Fatal(err)
	}
}

// What becomes of what was not synced when the relay has ended.
func kept(*faultfs.Disk) error   { return nil }
func lost(d *faultfs.Disk) error { return d.Lose(nil) }

// data is the folder behind the disk, mount where it is seen.
func (d *diskRun) data() string  { return filepath.Join(d.base, "data") }
func (d *diskRun) mount() string { return filepath.Join(d.base, "mnt") }

// start starts a relay with its data in a folder.
func (d *diskRun) start(data string, s diskSettings) *diskRelay {
	return startDiskRelay(d.t, d.base, data, d.upstream.Addrs()[0].String(), s)
}

// offer sends messages one after the other over one session, until one is
// refused, and returns the IDs of those that were taken.
func (d *diskRun) offer(r *diskRelay, all ...diskMail) (ids []string, reply diskReply) {
	c, reply := dialDisk(r.address)
	if c == nil {
		return nil, reply
	}
	defer c.Close()
	for _, m := range all {
		d.journal.sending(m)
		reply = c.send(m)
		if err := d.journal.told(m, reply); err != nil {
			d.t.Error(err)
		}
		if reply.id() == "" {
			break
		}
		ids = append(ids, reply.id())
	}
	return ids, reply
}

// live is what happens on the disk, from an empty folder on: mail comes in over
// two sessions and goes out, one message stays and is held by an operator, who
// stops deliveries for a moment; the relay is stopped and started again, and
// with its next mail begins the next file. It breaks off when the relay ends by
// itself, or refuses something, and returns the last one that ran. whole says
// that it did not break off.
func (d *diskRun) live() (last *diskRelay, whole bool) {
	r := d.start(d.mount(), diskSettings{})
	if !r.isReady() {
		return r, false
	}
	var stays []string
	var group sync.WaitGroup
	group.Go(func() { stays, _ = d.offer(r, newDiskMail("stays", diskUnknown, 2000)) })
	taken, _ := d.offer(r, newDiskMail("small", diskKnown, 1000), newDiskMail("large", diskKnown, 100_000))
	group.Wait()
	whole = d.delivered(r) && len(taken) == 2 && len(stays) == 1 && d.operate(r, stays[0])
	if r.stop() != 0 || !whole {
		return r, false
	}
	r = d.start(d.mount(), diskSettings{queue: "  generation_age: 1ms\n"})
	if !r.isReady() {
		return r, false
	}
	taken, _ = d.offer(r, newDiskMail("again", diskKnown, 1000))
	whole = d.delivered(r) && len(taken) == 1
	return r, r.stop() == 0 && whole
}

// operate is what the operator does. It stops at the first no.
func (d *diskRun) operate(r *diskRelay, id string) bool {
	for _, act := range [][]string{{"hold", id, "--reason", "test"}, {"pause", "--outbound", "--yes", "--reason", "test"}, {"resume", "--outbound"}} {
		if r.command(append([]string{"queue"}, act...)...) != nil {
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

// recovered starts a relay where the disk is well again, and wants all of it: it
// takes mail, delivers what it owes, ends well, and nothing is missing.
func (d *diskRun) recovered() error {
	r := d.start(d.data(), diskSettings{})
	if !r.isReady() {
		return fmt.Errorf("no start on a disk that is well\n%s", r.story())
	}
	if err := r.command("queue", "resume", "--outbound"); err != nil {
		return fmt.Errorf("%w\n%s", err, r.story())
	}
	if ids, reply := d.offer(r, newDiskMail(fmt.Sprint("afterwards", len(d.journal.sent)), diskKnown, 1000)); len(ids) != 1 {
		return fmt.Errorf("no mail is taken on a disk that is well: %+v\n%s", reply, r.story())
	}
	if !d.delivered(r) || r.stop() != 0 {
		return fmt.Errorf("exit code %d on a disk that is well\n%s", r.exit(), r.story())
	}
	if err := d.journal.check(d.data(), d.upstream.Received()); err != nil {
		return fmt.Errorf("%w\n%s", err, r.story())
	}
	return nil
}
