//go:build linux

package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/mxkeep/mxkeep/integration/faultfs"
	"github.com/mxkeep/mxkeep/integration/primary"
)

const (
	powerRounds     = 5   // without MXKEEP_SOAK
	powerRoundsSoak = 100 // with it
	powerControls   = 20  // within which a relay whose syncs do nothing must lose something
	powerLives      = 10  // of one store
	powerSenders    = 4
	powerOps        = 600 // at most so many operations before the power is cut
)

// TestPowerLoss cuts the power at a random moment while mail comes in and goes
// out: of what was not synced some is gone, some is torn, some is there. All
// that was promised must be, and the next life of the store goes on from there.
func TestPowerLoss(t *testing.T) {
	needsFUSE(t)
	rounds := powerRounds
	if os.Getenv("MXKEEP_SOAK") == "1" {
		rounds = powerRoundsSoak
	}
	seed := rand.Uint64()
	var d *diskRun
	promised := 0
	for round := range rounds {
		if round%powerLives == 0 {
			d = newDiskRun(t, nil)
		}
		before := len(d.journal.promised)
		life := d.cutShort(rand.New(rand.NewPCG(seed, uint64(round))), round, false)
		promised += len(d.journal.promised) - before
		if err := d.recovered(); err != nil {
			t.Fatalf("round %d, seed %d: %v\nbefore:\n%s", round, seed, err, life.story())
		}
	}
	if promised < rounds {
		t.Errorf("only %d messages were promised in %d rounds: that proves nothing", promised, rounds)
	}
	t.Logf("%d rounds, %d messages promised", rounds, promised)
}

// TestPowerLossIsFound is the control: where syncs do nothing, the same rounds
// must find a loss.
func TestPowerLossIsFound(t *testing.T) {
	needsFUSE(t)
	authority, err := primary.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	for round := range powerControls {
		d := newDiskRun(t, authority)
		d.cutShort(rand.New(rand.NewPCG(seed, uint64(round))), round, true)
		if err := d.survived(); err != nil {
			first, _, _ := strings.Cut(err.Error(), "\n")
			t.Logf("round %d of %d messages: %s", round, len(d.journal.promised), first)
			return
		}
	}
	t.Errorf("seed %d: nothing was lost in %d rounds without a sync", seed, powerControls)
}

// cutShort runs a relay that takes mail from several senders and delivers it,
// cuts the power, and returns the relay, which is dead.
func (d *diskRun) cutShort(random *rand.Rand, round int, ignoreSync bool) *diskRelay {
	d.t.Helper()
	d.insert(faultfs.Options{CutAt: 1 + random.IntN(powerOps), IgnoreSync: ignoreSync})
	r := d.start(d.mount(), diskSettings{queue: fmt.Sprintf("  generation_age: %dms\n", 1+random.IntN(1000))})
	d.journal.killed = true
	var senders sync.WaitGroup
	select {
	case <-d.disk.Cut():
	case <-r.ended:
		r.fatal("it ended before the power was cut")
	case <-r.ready:
		for i := range powerSenders {
			senders.Go(func() { d.sendOn(r, fmt.Sprintf("%d-%d", round, i)) })
		}
		<-d.disk.Cut()
	}
	if err := r.cmd.Process.Kill(); err != nil {
		d.t.Fatal(err)
	}
	d.disk.Release()
	<-r.ended
	senders.Wait()
	d.journal.killed = false
	d.eject(func(disk *faultfs.Disk) error { return disk.Lose(random) })
	return r
}

// sendOn sends messages of several sizes until it is cut off.
func (d *diskRun) sendOn(r *diskRelay, name string) {
	for n := 0; ; n++ {
		recipient := diskKnown
		if n%3 == 2 {
			recipient = diskUnknown
		}
		size := []int{500, 20_000, 150_000}[n%3]
		if ids, _ := d.offer(r, newDiskMail(fmt.Sprintf("%s-%d", name, n), recipient, size)); len(ids) == 0 {
			return
		}
	}
}

// survived reports what is missing from the store, or what else is wrong with it.
func (d *diskRun) survived() error {
	r := d.start(d.data(), diskSettings{})
	if !r.isReady() {
		return errors.New("no start")
	}
	if code := r.stop(); code != 0 {
		return fmt.Errorf("exit code %d", code)
	}
	return d.journal.check(d.data(), d.upstream.Received())
}
