//go:build linux

package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/faultfs"
	"github.com/mxkeep/mxkeep/integration/primary"
)

// diskFault is a kind of fault.
type diskFault struct {
	fault  faultfs.Fault // without its number
	lossy  bool          // what was not synced is lost when the relay has ended
	always bool          // and not only when there is more time
}

func (f diskFault) String() string {
	names := map[syscall.Errno]string{syscall.EIO: "EIO", syscall.ENOSPC: "ENOSPC", faultfs.Short: "short"}
	name := fmt.Sprintf("%s of %s, once", names[f.fault.Error], f.fault.Op)
	if f.fault.Lasting {
		name = fmt.Sprintf("%s of %s, for good", names[f.fault.Error], f.fault.Op)
	}
	if f.lossy {
		name += ", with loss"
	}
	return name
}

// diskFaults are all kinds of fault.
func diskFaults() []diskFault {
	const once, lasting = false, true
	return []diskFault{
		{faultfs.Fault{Op: faultfs.Write, Error: syscall.EIO, Lasting: once}, false, true},
		{faultfs.Fault{Op: faultfs.Write, Error: syscall.EIO, Lasting: lasting}, false, false},
		{faultfs.Fault{Op: faultfs.Write, Error: syscall.ENOSPC, Lasting: once}, false, false},
		{faultfs.Fault{Op: faultfs.Write, Error: syscall.ENOSPC, Lasting: lasting}, false, true},
		{faultfs.Fault{Op: faultfs.Write, Error: faultfs.Short, Lasting: once}, false, false},
		{faultfs.Fault{Op: faultfs.Write, Error: faultfs.Short, Lasting: lasting}, false, false},
		{faultfs.Fault{Op: faultfs.Sync, Error: syscall.EIO, Lasting: once}, false, false},
		{faultfs.Fault{Op: faultfs.Sync, Error: syscall.EIO, Lasting: once}, true, true},
		{faultfs.Fault{Op: faultfs.Sync, Error: syscall.EIO, Lasting: lasting}, false, true},
		{faultfs.Fault{Op: faultfs.Sync, Error: syscall.EIO, Lasting: lasting}, true, false},
		{faultfs.Fault{Op: faultfs.Sync, Error: syscall.ENOSPC, Lasting: once}, false, false},
		{faultfs.Fault{Op: faultfs.Sync, Error: syscall.ENOSPC, Lasting: lasting}, false, false},
		{faultfs.Fault{Op: faultfs.Truncate, Error: syscall.EIO, Lasting: once}, false, true},
		{faultfs.Fault{Op: faultfs.Truncate, Error: syscall.EIO, Lasting: lasting}, false, true},
		{faultfs.Fault{Op: faultfs.Truncate, Error: syscall.ENOSPC, Lasting: once}, false, true},
		{faultfs.Fault{Op: faultfs.Truncate, Error: syscall.ENOSPC, Lasting: lasting}, false, true},
	}
}

// diskAbreast is how many runs there are at a time.
const diskAbreast = 4

// diskStep is how far apart the writes or syncs are that fail when there is little time.
const diskStep = 4

// TestDiskFaults lets the same short life fail at its first write, its second,
// and so on, until it comes to its end before the fault is reached; and so with
// each kind of fault. Whatever fails, nothing that was promised is lost.
//
// That is so with MXKEEP_TORTURE=ci or MXKEEP_SOAK=1. Without, it is not all
// kinds of fault, and of the many writes and syncs every fourth fails, from one
// of the first four on, another in each run of the test.
func TestDiskFaults(t *testing.T) {
	t.Parallel()
	needsFUSE(t)
	authority, err := primary.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	all := os.Getenv("MXKEEP_TORTURE") == "ci" || os.Getenv("MXKEEP_SOAK") == "1"
	for _, kind := range diskFaults() {
		if !kind.always && !all {
			continue
		}
		t.Run(kind.String(), func(t *testing.T) {
			first, step := 1, 1
			if !all && kind.fault.Op != faultfs.Truncate { // of these there are few
				first, step = 1+rand.IntN(diskStep), diskStep
			}
			var next, failures atomic.Int64
			var done atomic.Bool // a run came to its end without the fault
			began := time.Now()
			t.Run("runs", func(t *testing.T) {
				for range diskAbreast {
					t.Run("", func(t *testing.T) {
						t.Parallel()
						for !done.Load() && !t.Failed() {
							fault := kind.fault
							fault.Number = first + step*int(next.Add(1)-1)
							t.Run(fmt.Sprint(fault.Number), func(t *testing.T) {
								code, struck := faultyRun(t, authority, fault, kind.lossy)
								if code != 0 {
									failures.Add(1)
								}
								if !struck {
									done.Store(true)
								}
							})
						}
					})
				}
			})
			t.Logf("%d runs in %s, %d ended the relay", next.Load(), time.Since(began).Round(time.Millisecond), failures.Load())
		})
	}
}

// faultyRun is one run with one fault. It reports the exit code of the relay
// and whether the fault was reached.
func faultyRun(t *testing.T, authority *primary.Authority, fault faultfs.Fault, lossy bool) (code int, struck bool) {
	t.Helper()
	d := newDiskRun(t, authority)
	d.insert(faultfs.Options{Fault: fault})
	r, whole := d.live()
	code, struck = r.exit(), d.disk.Struck()
	if code != 0 && code != exitDisk || !struck && !whole {
		r.fatal("exit code %d, fault reached: %t, whole: %t", code, struck, whole)
	}
	if lossy {
		d.eject(lost)
	} else {
		d.eject(kept)
	}
	if err := d.recovered(); err != nil {
		r.fatal("%v\nbefore:", err)
	}
	return code, struck
}

// TestFailedSync fails under many senders that wait for their 250: each is told
// to try again, nobody else gets in, and the relay ends.
func TestFailedSync(t *testing.T) {
	needsFUSE(t)
	d := newDiskRun(t, nil)
	d.insert(faultfs.Options{})
	r := d.start(d.mount(), diskSettings{})
	if !r.isReady() {
		r.fatal("no start")
	}
	d.offer(r, newDiskMail("before", diskKnown, 1000))
	var clients []*diskClient
	var mails []diskMail
	for i := range 16 {
		m := newDiskMail(fmt.Sprint("waiting", i), diskKnown, 1000+i*9000)
		c, _ := dialDisk(r.address)
		if c == nil {
			r.fatal("no session")
		}
		defer c.Close()
		d.journal.sending(m)
		if reply := c.begin(m); reply.code != 354 {
			r.fatal("DATA: %+v", reply)
		}
		clients, mails = append(clients, c), append(mails, m)
	}
	d.disk.Break(faultfs.Fault{Op: faultfs.Sync, Number: 1, Error: syscall.EIO, Lasting: true})
	var group sync.WaitGroup
	for i, c := range clients {
		group.Go(func() {
			if reply := c.say(mails[i].content + "."); reply.code != 451 {
				t.Errorf("%+v", reply)
			}
		})
	}
	group.Wait()
	if code := r.exit(); code != exitDisk {
		r.fatal("exit code %d", code)
	}
	if _, reply := d.offer(r, mails[0]); reply.code != 0 {
		t.Errorf("after the end: %+v", reply)
	}
	d.eject(lost)
	if err := d.recovered(); err != nil {
		r.fatal("%v\nbefore:", err)
	}
	if n := len(d.journal.promised); n != 2 {
		t.Errorf("%d were promised", n)
	}
}
