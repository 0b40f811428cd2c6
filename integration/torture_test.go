package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue/failpoint"
)

// stretch is how many lives an ordeal has before its account is drawn up.
const stretch = 30

// kills is how many random kills there are: 30, 300 with MXKEEP_TORTURE=ci,
// thousands with MXKEEP_SOAK=1.
func kills() int {
	switch {
	case os.Getenv("MXKEEP_SOAK") == "1":
		return 3000
	case os.Getenv("MXKEEP_TORTURE") == "ci":
		return 300
	}
	return stretch
}

// tortureSeed is what is done when, and what is sent: a new one in each run,
// unless MXKEEP_SEED says which.
func tortureSeed(t *testing.T) uint64 {
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("MXKEEP_SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("MXKEEP_SEED=%d does the same again", seed)
	return seed
}

// weather is what the primary does meanwhile. It is healthy half of the time.
var weather = []string{"healthy", "healthy", "healthy", "healthy", "down", "451-4.3.2", "lost-ack-every=5", "421-forest"}

// TestTorture kills the relay at random moments while mail comes in and goes
// out: while it starts, while it works, while it stops. Nothing that was
// answered with 250 may be lost.
func TestTorture(t *testing.T) {
	seed := tortureSeed(t)
	for n := range kills() / stretch {
		t.Run(fmt.Sprint(n+1), func(t *testing.T) {
			o := newOrdeal(t, binary, seed+uint64(n))
			for range 3 { // while it makes its files
				l := o.start()
				o.moment(50 * time.Millisecond)
				o.kill(l)
				o.expectKilled(l)
			}
			o.begin(seed + uint64(n))
			for o.lives < stretch {
				o.torment()
			}
			o.verdict(o.finish())
			if len(o.letters) < 10*stretch {
				t.Errorf("only %d letters: this proves nothing", len(o.letters))
			}
		})
	}
}

// begin lets the mail begin, with a life that is then killed.
func (o *ordeal) begin(seed uint64) {
	o.t.Helper()
	l := o.start()
	if !o.ready(l) {
		o.t.Fatalf("no relay: %s", l.lastWords())
	}
	o.correspond(seed)
	o.killInService(l)
}

// torment lets the relay live until a random moment.
func (o *ordeal) torment() {
	o.t.Helper()
	o.play(weather[o.random.IntN(len(weather))])
	l := o.start()
	if o.random.IntN(5) == 0 { // while it starts
		o.moment(o.startup)
		o.kill(l)
		o.expectKilled(l)
		return
	}
	if !o.ready(l) {
		o.expectKilled(l)
		return
	}
	if o.random.IntN(5) > 0 {
		o.killInService(l)
		return
	}
	o.live(l)
	_ = l.cmd.Process.Signal(syscall.SIGTERM) // fails only if it has ended
	o.moment(20 * time.Millisecond)
	o.kill(l)
	if !l.cmd.ProcessState.Success() { // it may have been faster
		o.expectKilled(l)
	}
}

func (o *ordeal) killInService(l *life) {
	o.t.Helper()
	o.live(l)
	o.moment(time.Millisecond)
	o.kill(l)
	o.expectKilled(l)
}

// live lets the relay work, until the correspondents have got some replies, or
// the primary some mail.
func (o *ordeal) live(l *life) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	arrivals := len(o.primary.Received()) + 1 + o.random.IntN(400)
	mail := make(chan struct{})
	go func() {
		defer close(mail)
		_, _ = o.primary.Await(ctx, arrivals) // fails when the replies, or the end, came before
	}()
	defer func() {
		cancel()
		<-mail
	}()
	select {
	case <-o.after(1 + o.random.Int64N(1500)):
	case <-mail:
	case <-l.ended:
	}
	if ctx.Err() != nil {
		o.t.Fatalf("nothing happened in life %d for %s; so far: %q\n%s", l.number, patience, o.complaints(), l.lastWords())
	}
}

// moment lets a random time of up to most pass. Nothing is waited for.
func (o *ordeal) moment(most time.Duration) {
	<-time.After(time.Duration(o.random.Int64N(int64(most) + 1)))
}

// TestFailPoints kills the relay at each named step of the way of a message.
// That a loss would be found, a relay shows that says 250 before the message is on disk.
func TestFailPoints(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mxkeep")
	if out, err := exec.Command("go", "build", "-tags", "failpoint", "-o", path, "../cmd/mxkeep").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	seed := tortureSeed(t)
	t.Run("each", func(t *testing.T) {
		o := newOrdeal(t, path, seed)
		o.begin(seed)
		for _, p := range failpoint.Points() {
			if strings.HasPrefix(string(p), "pass.") { // of a front, see TestPassFailPoints
				continue
			}
			o.dieAt(p)
		}
		r := o.finish()
		o.verdict(r)
		if repeated, marked := r.duplicates(); repeated == 0 || marked == 0 {
			t.Error("the points at which a duplicate cannot be avoided made none")
		}
	})
	t.Run("lie", func(t *testing.T) {
		const most = 20
		o := newOrdeal(t, path, seed, failpoint.Variable+"="+string(failpoint.Lie))
		o.begin(seed)
		for n := range most {
			l := o.start()
			if !o.ready(l) {
				t.Fatalf("no relay: %s", l.lastWords())
			}
			for _, fault := range o.complaints() {
				if strings.HasPrefix(fault, "LOST") {
					t.Logf("found after %d kills: %s", n+1, fault)
					return
				}
			}
			o.killInService(l)
		}
		t.Errorf("no loss found in %d kills", most)
	})
}

// forerunners are points at which a death leaves behind what others, which a
// relay passes before it is ready, have to clear away; often, if not always.
var forerunners = map[failpoint.Point]failpoint.Point{
	failpoint.OpenDrafts: failpoint.StoreChunk,
	failpoint.OpenLeases: failpoint.OutboundDot,
}

// once are the points that a life may visit only once.
var once = []failpoint.Point{failpoint.HealthSaving, failpoint.HealthSaved, failpoint.StoreClosing,
	failpoint.GenerationClosed, failpoint.OpenDrafts, failpoint.OpenLeases}

// dieAt lets the relay live until it dies at one of its first visits of the point.
func (o *ordeal) dieAt(p failpoint.Point) {
	o.t.Helper()
	visit := 1
	if !slices.Contains(once, p) {
		visit += o.random.IntN(4)
	}
	for range 20 {
		before, early := forerunners[p]
		if early {
			o.dieAt(before)
		}
		l := o.start(fmt.Sprintf("%s=%s:%d", failpoint.Variable, p, visit))
		ready := o.ready(l)
		switch {
		case ready && early: // nothing was left behind
			o.kill(l)
			o.expectKilled(l)
			continue
		case ready:
			o.leadTo(p, l)
		}
		if !l.died(p) {
			o.t.Fatalf("the relay did not die at visit %d of %s: %v\n%s", visit, p, l.cmd.ProcessState, l.lastWords())
		}
		o.play("healthy")
		return
	}
	o.t.Fatalf("the relay never came to %s", p)
}

// leadTo brings about that a life that is ready comes to the point.
func (o *ordeal) leadTo(p failpoint.Point, l *life) {
	o.t.Helper()
	switch p {
	case failpoint.HealthSaving, failpoint.HealthSaved:
		o.play("down")
	case failpoint.StoreClosing, failpoint.GenerationClosed:
		_ = l.cmd.Process.Signal(syscall.SIGTERM) // fails only if it has ended
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-l.ended:
	case <-timer.C:
		o.kill(l)
	}
}
