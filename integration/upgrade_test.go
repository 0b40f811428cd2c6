package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// estate is what the version before leaves behind: a full queue, with messages
// in every state, in several files of format 1.
type estate struct {
	t       *testing.T
	store   *bolt.Store
	bodies  map[string]string // by subject
	arrives map[string]bool   // subjects that are to be delivered
	account queue.Account
}

// leaveEstate fills a folder.
func leaveEstate(t *testing.T, dir string) *estate {
	t.Helper()
	s, err := bolt.Open(dir, bolt.Options{GenerationSize: 1 << 20, Interrupted: -1, GenerationAge: time.Hour, Quiet: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	e := &estate{t: t, store: s, bodies: map[string]string{}, arrives: map[string]bool{}}
	a := &e.account
	e.each(60, "queued", true, &a.Queued, func(queue.ID) error { return nil })
	e.each(5, "deferred", true, &a.Queued, e.attempt(queue.Deferred))
	e.each(2, "interrupted", true, &a.Queued, func(id queue.ID) error { _, err := e.claim(id); return err })
	e.each(3, "held", false, &a.Held, e.amend(queue.Hold))
	e.each(2, "refused", false, &a.Refused, e.attempt(queue.Refused))
	e.each(2, "trash", false, &a.Deleted, e.amend(queue.Delete))
	e.each(3, "done", false, &a.Delivered, e.attempt(queue.Delivered))
	if err := s.FileLedger(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.each(1, "victim", false, &a.Queued, func(queue.ID) error { return nil })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	inFormat1(t, dir)
	e.damage(dir)
	return e
}

// each accepts some messages, does something with them, and counts them.
func (e *estate) each(n int, kind string, arrives bool, count *int64, act func(queue.ID) error) {
	e.t.Helper()
	for i := range n {
		subject := fmt.Sprintf("%s%d", kind, i)
		body := "Message-ID: <" + subject + "@client.example>\r\n\r\n" + strings.Repeat("body of "+subject+"\r\n", 2000) + "\r\n"
		d, err := e.store.Create(e.t.Context())
		if err == nil {
			_, err = d.Write([]byte(body))
		}
		if err == nil {
			err = d.Commit(e.t.Context(), queue.Acceptance{At: time.Now(), MessageID: "<" + subject + "@client.example>", Lifetime: queue.DefaultLifetime,
				Trace:    []byte("Received: from client.example\r\n\tby mx2.corp.example; Thu, 22 Jan 2026 19:30:00 +0000\r\n"),
				Envelope: queue.Envelope{Upstream: "exo", ReversePath: "alice@client.example", Recipients: []queue.Recipient{{ForwardPath: "bob@corp.example"}}}})
		}
		if err == nil {
			err = act(d.ID())
		}
		if err != nil {
			e.t.Fatal(err)
		}
		e.bodies[subject], e.arrives[subject] = body, arrives
		e.account.Accepted++
		*count++
	}
}

func (e *estate) claim(id queue.ID) (int, error) {
	claimed, err := e.store.Claim(e.t.Context(), []queue.ID{id}, 1000*time.Hour)
	if err != nil || len(claimed) != 1 {
		return 0, fmt.Errorf("claimed %d: %w", len(claimed), err)
	}
	return claimed[0].Attempts, nil
}

func (e *estate) attempt(action queue.Action) func(queue.ID) error {
	return func(id queue.ID) error {
		attempt, err := e.claim(id)
		if err != nil {
			return err
		}
		return e.store.Settle(e.t.Context(), queue.Settlement{ID: id, Attempt: attempt, NextAttempt: time.Now(),
			Results: map[int]queue.Result{0: {At: time.Now(), Action: action, Scope: queue.ScopeOneRecipient, Reply: queue.Reply{Command: "RCPT", Code: 450}}}})
	}
}

func (e *estate) amend(event queue.Event) func(queue.ID) error {
	return func(id queue.ID) error {
		return e.store.Amend(e.t.Context(), queue.Amendment{ID: id, At: time.Now(), Event: event, Actor: "carol", Reason: "test"})
	}
}

// damage changes one byte of the victim's content.
func (e *estate) damage(dir string) {
	e.t.Helper()
	for _, path := range queueFiles(e.t, dir, "gen-*.db") {
		raw, err := os.ReadFile(path)
		if err != nil {
			e.t.Fatal(err)
		}
		if at := bytes.Index(raw, []byte("body of victim0\r\nbody of victim0")); at > 0 {
			if err := overwrite(path, int64(at)+8, []byte("V")); err != nil {
				e.t.Fatal(err)
			}
			return
		}
	}
	e.t.Fatal("no victim")
}

// wantAccount compares, before anything has moved.
func (e *estate) wantAccount(st admin.Status) {
	e.t.Helper()
	a, want := st.Account, e.account
	if a == nil || a.Accepted != want.Accepted || a.Queued+a.Held != want.Queued+want.Held || a.Refused != want.Refused || a.Deleted != want.Deleted || a.Delivered != want.Delivered || a.Missing != 0 {
		e.t.Fatalf("the account is %+v, want %+v", a, want)
	}
}

func queueFiles(t testing.TB, dir, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	return paths
}

// upgrade is a relay that has not been started yet, on an estate.
type upgrade struct {
	*wreck
	queue  string // the folder
	estate *estate
}

func newUpgrade(t *testing.T) *upgrade {
	t.Helper()
	exo, err := primary.Start(context.Background(), primary.Options{Addresses: []string{"127.0.0.27:0"}, Domains: []string{"corp.example"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { exo.Close() })
	w := &wreck{t: t, folder: t.TempDir(), primary: exo, address: unusedAt(t, "127.0.0.28:0")}
	w.play("down")
	w.config = fmt.Sprintf(damageConfig, filepath.Join(w.folder, "data"), filepath.Join(w.folder, "admin.sock"), w.address, exo.Addrs()[0])
	u := &upgrade{wreck: w, queue: filepath.Join(w.folder, "data", "queue")}
	if err := os.Mkdir(filepath.Dir(u.queue), 0o700); err != nil {
		t.Fatal(err)
	}
	u.estate = leaveEstate(t, u.queue)
	return u
}

// sendMany sends messages from several senders at the same time.
func (u *upgrade) sendMany() {
	u.t.Helper()
	var group sync.WaitGroup
	errs := make([]error, 4)
	for n := range errs {
		for i := range 10 {
			subject := fmt.Sprintf("fresh%d-%d", n, i)
			u.estate.bodies[subject], u.estate.arrives[subject] = "Message-ID: <"+subject+"@client.example>\r\n\r\nfresh\r\n", true
			u.estate.account.Accepted++
		}
		group.Go(func() {
			s, err := connect(u.address)
			for i := 0; i < 10 && err == nil; i++ {
				text := fmt.Sprintf("Message-ID: <fresh%d-%d@client.example>\r\n\r\nfresh\r\n.\r\n", n, i)
				err = s.send(dialogue{{[]byte(mailCommand + rcptCommand + dataCommand), 3}, {[]byte(text), 1}})
			}
			errs[n] = err
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		u.t.Fatal(err)
	}
}

// wantArrivals compares what the primary took, byte by byte.
func (u *upgrade) wantArrivals() {
	u.t.Helper()
	got := u.received()
	for subject, arrives := range u.estate.arrives {
		if want := map[bool]int{true: 1}[arrives]; got[subject] != want {
			u.t.Errorf("%s arrived %d times, not %d", subject, got[subject], want)
		}
	}
	for _, d := range u.primary.Received() {
		subject := strings.TrimSuffix(strings.TrimPrefix(d.MessageID, "<"), "@client.example>")
		if body, known := u.estate.bodies[subject]; !known || !bytes.HasSuffix(d.Content, []byte("\r\n"+body)) {
			u.t.Errorf("%s arrived with other bytes", d.MessageID)
		}
	}
}

// TestUpgradeWhileHolding: a new version starts on the full queue of the one
// before, while senders send. Everything is delivered once; what was held, in
// the trash or damaged stays; then a version before it refuses the files.
func TestUpgradeWhileHolding(t *testing.T) {
	t.Parallel()
	u := newUpgrade(t)
	var plan struct {
		Files []struct{ Changes, Recount bool }
		Fits  bool
	}
	out, code := u.exit("db", "migrate", "--dry-run", filepath.Dir(u.queue), "--json")
	if err := json.Unmarshal([]byte(out), &plan); err != nil || code != 0 || !plan.Fits || len(plan.Files) < 4 || !plan.Files[0].Changes || !plan.Files[0].Recount {
		t.Fatalf("exit %d, %v: %s", code, err, out)
	}
	u.start()
	u.sendMany()
	st := u.until("the primary is down", 20*time.Second, func(st admin.Status) bool {
		return st.Upstreams[0].State == "down" && st.Account.Accepted == u.estate.account.Accepted
	})
	if st.Store == nil || len(st.Store.ID) != 32 || len(st.Store.Copies) != 1 || st.Store.Copies[0].Size < 1<<20 || !st.NothingLost {
		t.Errorf("status %+v, %+v", st, st.Store)
	}
	if held := st.Upstreams[0].Held; held == nil || held.Messages != st.Queue.Messages || held.Bytes != st.Queue.Bytes {
		t.Errorf("of the upstream %+v, in all %+v", held, st.Queue)
	}
	if out := u.cli("db", "stats"); !strings.Contains(out, st.Store.ID) || !strings.Contains(out, st.Store.Copies[0].Path) {
		t.Errorf("db stats: %s", out)
	}
	u.play("healthy")
	a := u.estate.account
	st = u.until("all is delivered", time.Minute, func(st admin.Status) bool {
		return st.Account.Queued == 0 && st.Queue.ByState["active"] == 0
	})
	if got := st.Account; got.Held != a.Held+1 || got.Refused != a.Refused || got.Deleted != a.Deleted || got.Delivered != a.Accepted-a.Held-1-a.Refused-a.Deleted || got.Missing != 0 || st.Queue.Damaged != 1 {
		t.Errorf("account %+v of %+v, queue %+v", got, a, st.Queue)
	}
	u.wantArrivals()
	u.cli("queue", "release", "--all")
	for i := range 3 {
		u.estate.arrives[fmt.Sprintf("held%d", i)] = true
	}
	u.until("what was held is delivered, but for the damaged one", time.Minute, func(st admin.Status) bool {
		return st.Account.Queued == 0 && st.Account.Held == 1 && st.Queue.ByState["active"] == 0
	})
	u.wantArrivals()
	u.stop()
	u.refused()
}

// refused makes the files those of a later version, and starts this one.
func (u *upgrade) refused() {
	u.t.Helper()
	inFormat(u.t, u.queue, 3)
	before := listing(u.t, u.queue)
	cmd := exec.Command(binary, "serve", "--allow-root", "--config", filepath.Join(u.folder, "mxkeep.yaml"))
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.ExitCode() != 78 {
		u.t.Fatalf("ended with %v: %s", err, out)
	}
	for _, words := range []string{"E2207 newer_format", "it has format 3; this version reads formats 1 to 2", "Start that version, or a newer one", "mxkeep help upgrade"} {
		if !strings.Contains(string(out), words) {
			u.t.Errorf("it does not say %q: %s", words, out)
		}
	}
	if after := listing(u.t, u.queue); after != before {
		u.t.Errorf("changed: %s\n%s", before, after)
	}
	if out, code := u.exit("db", "migrate", "--dry-run", u.queue); code != 78 || !strings.Contains(out, "E2207") {
		u.t.Errorf("db migrate: exit %d, %s", code, out)
	}
}

// listing is every file with its size and age.
func listing(t testing.TB, dir string) string {
	t.Helper()
	var all strings.Builder
	for _, path := range queueFiles(t, dir, "*") {
		about, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, path, about.Size(), about.ModTime())
	}
	return all.String()
}

// upgrades is how many are killed: 5, 50 with MXKEEP_TORTURE=ci, 300 with MXKEEP_SOAK=1.
func upgrades() int { return max(5, kills()/6*min(1, kills()/300)) }

// TestUpgradeKilled kills the new version at random moments while it changes
// the files, until one start gets through; the account is then what it was, and
// at last everything is delivered once.
func TestUpgradeKilled(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(tortureSeed(t), 0))
	u := newUpgrade(t)
	template := t.TempDir()
	if err := os.CopyFS(filepath.Join(template, "queue"), os.DirFS(u.queue)); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	u.start()
	startup := time.Since(begun)
	stages := map[string]int{}
	for round := range upgrades() {
		u.kill()
		if err := errors.Join(os.RemoveAll(u.queue), os.CopyFS(u.queue, os.DirFS(filepath.Join(template, "queue")))); err != nil {
			t.Fatal(err)
		}
		for range 1 + random.IntN(3) {
			u.startAndKill(time.Duration(random.Int64N(int64(startup) / 2)))
			stages[u.stage()]++
		}
		u.start()
		st, err := u.client.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		u.estate.wantAccount(st)
		if len(st.Store.Copies) != 1 || !st.NothingLost {
			t.Errorf("round %d: %+v, %q", round, st.Store, st.Trouble)
		}
	}
	t.Logf("after a kill the files were: %v; a start takes %s", stages, startup)
	u.play("healthy")
	u.until("all is delivered", time.Minute, func(st admin.Status) bool { return st.Account.Queued == 0 && st.Queue.ByState["active"] == 0 })
	u.wantArrivals()
	if out, code := u.exit("db", "check"); code != 1 || !strings.Contains(out, "1 thing is damaged") {
		t.Errorf("db check: exit %d, %s", code, out)
	}
}

// stage says how far a change of the files came.
func (u *upgrade) stage() string {
	u.t.Helper()
	m, err := bolt.PlanMigration(u.queue)
	if err != nil {
		u.t.Fatal(err)
	}
	all, changes := 0, 0
	for _, f := range m.Files {
		if strings.HasPrefix(f.Name, "gen-") {
			all++
		}
		if f.Changes {
			changes++
		}
	}
	copied, err := filepath.Glob(filepath.Join(u.queue, "before-format-*Z"))
	if err != nil {
		u.t.Fatal(err)
	}
	switch {
	case len(copied) == 0:
		return "as they were"
	case changes == all:
		return "copied"
	case changes > 0:
		return "changed in part"
	}
	return "changed"
}

// startAndKill lets the relay live for a moment.
func (u *upgrade) startAndKill(moment time.Duration) {
	u.t.Helper()
	cmd := exec.Command(binary, "serve", "--allow-root", "--config", filepath.Join(u.folder, "mxkeep.yaml"))
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	<-time.After(moment) // nothing is waited for: any moment is as good
	_ = cmd.Process.Kill()
	err := cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		u.t.Fatalf("it ended by itself: %v\n%s", err, log.String())
	}
}
