package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/queue/failpoint"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// ordealConfig makes a relay that does in milliseconds what others do in
// minutes, and begins a new generation after a few dozen messages.
const ordealConfig = `hostname: mx2.corp.example
data: %q
socket: %q
http:
  listen: ""
inbound:
  listen: [%q]
  min_free: 1MiB
  trusted: [127.0.0.0/8]
  limits:
    message_size: 1MiB
  timeouts:
    greeting: 0s
    drain: 10s
  returning:
    times: 1
    over: 1ms
domains:
  - name: corp.example
upstreams:
  - name: exo
    hosts: [%q, %q]
    tls:
      policy: none
    delivery:
      start_rate: 1000000
      wait: 5ms
      max_wait: 50ms
    probe:
      every: 100ms
      every_bad: 20ms
    health:
      bad: 2
      good: 1
      quiet: 1
      trials: 1
      senders: 1000
queue:
  interrupted: 1ms
  generation_size: 1MiB
  schedule:
    first: 10ms
    max: 100ms
dns:
  servers: ["127.0.0.9:1"]
`

// correspondents is how many write at the same time.
const correspondents = 16

// ordeal is a relay that is killed again and again, between correspondents that
// write to it and a primary that it delivers to. These two are in the process
// of the test, and remember what the relay cannot change.
type ordeal struct {
	t       *testing.T
	binary  string
	env     []string // of the relay, beside ours
	folder  string
	address string
	primary *primary.Server
	client  *admin.Client
	random  *rand.Rand // of what is done to the relay

	life    atomic.Pointer[life] // the last one that was ready
	running *life                // the last one that was started; nil before the first
	lives   int
	startup time.Duration // of the last one that was ready
	enough  chan struct{} // closed when no more letters are to be written
	stop    sync.Once     // closes enough
	over    chan struct{} // closed when nobody is to wait any more
	writing sync.WaitGroup
	changes atomic.Int64  // of messages, by operators
	steps   atomic.Int64  // until reached gets a token
	reached chan struct{} // of size one

	mu      sync.Mutex
	letters []*missive
	fresh   []*missive // taken, and not looked for yet
	faults  []string
}

// life is one process of the relay, from its start to its death.
type life struct {
	number   int
	cmd      *exec.Cmd
	log      string
	ended    chan struct{} // closed when the process has ended
	followed chan struct{} // closed when the next life is ready
}

// newOrdeal starts a primary that is healthy; correspond lets the mail begin.
func newOrdeal(t *testing.T, binary string, seed uint64, env ...string) *ordeal {
	t.Helper()
	o := &ordeal{t: t, binary: binary, env: env, folder: t.TempDir(), random: rand.New(rand.NewPCG(seed, 0)),
		enough: make(chan struct{}), over: make(chan struct{}), reached: make(chan struct{}, 1)}
	var err error
	if o.primary, err = primary.Start(context.Background(), primary.Options{Addresses: []string{"127.0.0.17:0", "127.0.0.18:0"}, Domains: []string{"corp.example"}}); err != nil {
		t.Fatal(err)
	}
	o.address = unusedAt(t, "127.0.0.19:0")
	socket := filepath.Join(o.folder, "admin.sock")
	addresses := o.primary.Addrs()
	config := fmt.Sprintf(ordealConfig, filepath.Join(o.folder, "data"), socket, o.address, addresses[0], addresses[1])
	if err := os.WriteFile(filepath.Join(o.folder, "mxkeep.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	o.client = admin.NewClient(socket)
	t.Cleanup(o.clear)
	return o
}

// correspond lets everybody write, each with a seed of its own. A life must be ready.
func (o *ordeal) correspond(seed uint64) {
	for n := range correspondents {
		c := &correspondent{ordeal: o, number: n, random: rand.New(rand.NewPCG(seed, uint64(n+1)))}
		o.writing.Go(c.write)
	}
}

// clear ends what still runs.
func (o *ordeal) clear() {
	close(o.over)
	o.stop.Do(func() { close(o.enough) })
	if o.running != nil {
		o.kill(o.running)
	}
	o.writing.Wait()
	o.primary.Close()
}

// start begins a life. It is not ready yet.
func (o *ordeal) start(env ...string) *life {
	o.t.Helper()
	o.lives++
	l := &life{number: o.lives, log: filepath.Join(o.folder, fmt.Sprintf("relay-%04d.log", o.lives)), ended: make(chan struct{}), followed: make(chan struct{})}
	log, err := os.Create(l.log)
	if err != nil {
		o.t.Fatal(err)
	}
	defer log.Close()
	l.cmd = exec.Command(o.binary, "serve", "--allow-root", "--config", filepath.Join(o.folder, "mxkeep.yaml"))
	l.cmd.Env = append(append(os.Environ(), o.env...), env...)
	l.cmd.Stderr = log
	if err := l.cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	o.running = l
	go func() {
		_ = l.cmd.Wait() // its state says how it ended
		close(l.ended)
	}()
	return l
}

// ready waits until the life accepts mail; false if it ended before. Its books
// are looked at, and the correspondents go on.
func (o *ordeal) ready(l *life) bool {
	o.t.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for o.client.Ready(ctx) != nil {
		select {
		case <-l.ended:
			return false
		case <-ctx.Done():
			o.kill(l)
			o.t.Fatalf("life %d was not ready within %s\n%s", l.number, patience, l.lastWords())
		case <-tick.C:
		}
	}
	o.startup = time.Since(begun)
	before := o.life.Swap(l)
	o.audit(l)
	if before != nil {
		close(before.followed)
	}
	o.writing.Go(func() { o.operate() })
	return true
}

// audit looks at the books, and for all that was taken in the lives before. If
// the life ends meanwhile, the next one is asked for the rest.
func (o *ordeal) audit(l *life) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	status, err := o.client.Status(ctx)
	switch {
	case err != nil && o.dying(l):
		return
	case err != nil:
		o.complain("life %d: no status: %v", l.number, err)
	case status.Account == nil || status.Account.Missing != 0 || !status.NothingLost:
		o.complain("life %d: the account is %+v; trouble: %q", l.number, status.Account, status.Trouble)
	}
	o.mu.Lock()
	fresh := o.fresh
	o.fresh = nil
	o.mu.Unlock()
	for i, letter := range fresh {
		m, err := o.client.Message(ctx, letter.taken)
		switch known := new(admin.Error); {
		case err == nil && m.MessageID != letter.messageID:
			o.complain("life %d: %s is %s, not %s", l.number, letter.taken, m.MessageID, letter.messageID)
		case err == nil:
		case errors.As(err, &known) && known.Code == admin.CodeNotFound && o.has(letter.taken): // delivered, and forgotten
		case errors.As(err, &known) && known.Code == admin.CodeNotFound:
			o.complain("LOST: %s was answered with 250 and id %s, and life %d does not know it", letter.messageID, letter.taken, l.number)
		case o.dying(l):
			o.mu.Lock()
			o.fresh = append(o.fresh, fresh[i:]...)
			o.mu.Unlock()
			return
		default:
			o.complain("life %d: %s: %v", l.number, letter.taken, err)
		}
	}
}

// has reports whether the primary has a message of the relay's.
func (o *ordeal) has(id string) bool {
	return slices.ContainsFunc(o.primary.Received(), func(d primary.Delivery) bool { return relayID(d.Content) == id })
}

// dying reports whether a life that does not answer ends.
func (o *ordeal) dying(l *life) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-l.ended:
		return true
	case <-timer.C:
		return false
	}
}

// kill ends a life with SIGKILL. It does nothing to one that has ended.
func (o *ordeal) kill(l *life) {
	_ = l.cmd.Process.Kill() // fails only if it has ended
	<-l.ended
}

// killed reports whether the life ended by SIGKILL, and not by itself.
func (l *life) killed() bool {
	<-l.ended
	status, ok := l.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// lastWords is the end of the life's log.
func (l *life) lastWords() string {
	text, _ := os.ReadFile(l.log)
	return string(text[max(0, len(text)-4000):])
}

// expectKilled complains if the life has ended by itself.
func (o *ordeal) expectKilled(l *life) {
	if !l.killed() {
		o.complain("life %d ended by itself: %v\n%s", l.number, l.cmd.ProcessState, l.lastWords())
	}
}

// complain notes what must not be.
func (o *ordeal) complain(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.faults = append(o.faults, fmt.Sprintf(format, args...))
}

// complaints are all so far.
func (o *ordeal) complaints() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.faults...)
}

func (o *ordeal) written(l *missive) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.letters = append(o.letters, l)
}

func (o *ordeal) taken(l *missive, id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l.taken = id
	o.fresh = append(o.fresh, l)
}

// step counts a reply that a correspondent has got.
func (o *ordeal) step() {
	if o.steps.Add(-1) == 0 {
		select {
		case o.reached <- struct{}{}:
		default:
		}
	}
}

// after says when the correspondents have got n more replies.
func (o *ordeal) after(n int64) <-chan struct{} {
	select {
	case <-o.reached: // of the last time
	default:
	}
	o.steps.Store(n)
	return o.reached
}

// play changes the primary's scenario.
func (o *ordeal) play(name string) {
	o.t.Helper()
	scenario, err := primary.Named(name)
	if err == nil {
		err = o.primary.Play(scenario)
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

// finish lets a last life deliver all there is, stops it as a service manager
// would, and draws up the account. The store is then read without it.
func (o *ordeal) finish() *reckoning {
	o.t.Helper()
	o.play("healthy")
	o.stop.Do(func() { close(o.enough) })
	l := o.start()
	if !o.ready(l) {
		o.t.Fatalf("life %d ended by itself: %v\n%s", l.number, l.cmd.ProcessState, l.lastWords())
	}
	o.writing.Wait()
	o.undo(l)
	d := &daemon{t: o.t, folder: o.folder, cmd: l.cmd, client: o.client}
	status := d.until("empty queue", patience, func(s admin.Status) bool { return s.Queue != nil && s.Queue.Messages == 0 })
	arrivals := o.primary.Received()
	o.traceSome(arrivals)
	_ = l.cmd.Process.Signal(syscall.SIGTERM) // fails only if it has ended
	<-l.ended
	if !l.cmd.ProcessState.Success() {
		o.complain("life %d: %v\n%s", l.number, l.cmd.ProcessState, l.lastWords())
	}
	r := reckon(o.letters, arrivals, o.readLedger())
	if a := status.Account; a == nil || a.Accepted != r.recipients() || a.Delivered != a.Accepted || a.Missing != 0 {
		o.complain("the ledger accepted %d recipients, and the account is %+v", r.recipients(), a)
	}
	repeated, marked := r.duplicates()
	o.t.Logf("%d lives, %d letters, %d arrivals, %d changes by operators; %d letters repeated by their senders, %d copies marked as possible duplicates",
		o.lives, len(o.letters), len(arrivals), o.changes.Load(), repeated, marked)
	return r
}

// traceSome looks whether an operator is told of the duplicates, of some of them.
func (o *ordeal) traceSome(arrivals []primary.Delivery) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	copies, left := map[string]int{}, 5
	for _, d := range arrivals {
		id := relayID(d.Content)
		if copies[id]++; copies[id] != 2 || left == 0 {
			continue
		}
		left--
		marked := false
		err := o.client.Trace(ctx, id, 1000, func(e admin.Entry) error {
			marked = marked || slices.ContainsFunc(e.Results, func(r admin.Reply) bool { return r.MaybeDuplicate })
			return nil
		}, func(admin.Message) error { return nil })
		if err != nil || !marked {
			o.complain("%s arrived twice, and its trace does not say so: %v", id, err)
		}
	}
}

func (o *ordeal) readLedger() (all []queue.Entry) {
	o.t.Helper()
	store, err := bolt.Open(filepath.Join(o.folder, "data", "queue"), bolt.Options{Interrupted: -1})
	if err != nil {
		o.t.Fatal(err)
	}
	for e, err := range store.Ledger(context.Background(), queue.LedgerFilter{}) {
		if err != nil {
			o.t.Fatal(err)
		}
		all = append(all, e)
	}
	if err := store.Close(); err != nil {
		o.t.Fatal(err)
	}
	return all
}

// verdict fails the test with all that must not be.
func (o *ordeal) verdict(r *reckoning) {
	o.t.Helper()
	all := append(o.complaints(), r.faults...)
	for i, fault := range all {
		if i == 20 {
			o.t.Errorf("... and %d more", len(all)-i)
			break
		}
		o.t.Error(fault)
	}
}

// died reports whether the life has ended at the point.
func (l *life) died(p failpoint.Point) bool {
	text, err := os.ReadFile(l.log)
	return l.killed() && err == nil && strings.Contains(string(text), failpoint.Epitaph(p)+"\n")
}
