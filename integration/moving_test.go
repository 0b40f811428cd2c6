package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// movingMessages is how many messages move from one relay to another.
const movingMessages = 200

// moved is a message that moves, as the primary of the other relay is to get it.
type moved struct {
	content    []byte // with its trace
	recipients []string
	params     []string // that must stand in MAIL
}

// fill gives a store messages of all kinds, and returns what is to be
// delivered, by the Message-ID that the primary sees.
func fill(t *testing.T, folder string) map[string]moved {
	t.Helper()
	store, err := bolt.Open(folder, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	random := rand.New(rand.NewPCG(1, 2))
	all := map[string]moved{}
	for n := range movingMessages {
		a, content := movingMessage(random, n)
		d, err := store.Create(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := d.Commit(context.Background(), a); err != nil {
			t.Fatal(err)
		}
		left := attempted(t, store, d.ID(), n)
		all[a.MessageID] = moved{slices.Concat(a.Trace, content), left, movingParams(a)}
	}
	return all
}

// movingMessage makes the nth message. Some have no content at all, some 5 MiB.
func movingMessage(random *rand.Rand, n int) (queue.Acceptance, []byte) {
	size := []int{0, 2, 700, 4 << 10, 64 << 10, 70 << 10}[n%6]
	if n%50 == 7 {
		size = 5 << 20
	}
	id := fmt.Sprintf("<%d@client.example>", n)
	content := make([]byte, size)
	for i := range content {
		content[i] = byte('a' + random.IntN(26))
	}
	for i := 90; i+1 < size; i += 90 { // lines as they may go over the wire, some of which begin with a dot
		copy(content[i:], "\r\n.")
	}
	if size > 0 { // SMTP has no content without an end of its last line
		copy(content[size-2:], "\r\n")
	}
	a := queue.Acceptance{At: time.Now().Add(-time.Hour), MessageID: id, Lifetime: queue.DefaultLifetime,
		// The trace has the Message-ID, so that the primary sees it whatever the content is.
		Trace: []byte("Received: from client.example by mx2.corp.example\r\nMessage-ID: " + id + "\r\n"),
		Envelope: queue.Envelope{Upstream: "exo", ReversePath: fmt.Sprintf("sender%d@client.example", n),
			Recipients: []queue.Recipient{{ForwardPath: "alice@corp.example"}, {ForwardPath: fmt.Sprintf(`"b %d"@corp.example`, n), ORcpt: "rfc822;bob@old.example", Notify: []string{"FAILURE", "DELAY"}}}}}
	switch n % 5 {
	case 0:
		a.Envelope.ReversePath = ""
	case 1:
		a.Envelope.Params = queue.Params{Body: "8BITMIME", Ret: "HDRS", EnvID: fmt.Sprintf("env %d", n)}
		if size > 10 {
			copy(content[4:], "\xff\xfe")
		}
	case 2:
		a.Envelope.Params = queue.Params{Body: "8BITMIME", SMTPUTF8: true}
		a.Envelope.Recipients = append(a.Envelope.Recipients, queue.Recipient{ForwardPath: "jürgen@corp.example"})
	case 3:
		a.Held = "looks like a phish"
	}
	return a, content
}

func movingParams(a queue.Acceptance) (all []string) {
	if p := a.Envelope.Params; p.SMTPUTF8 {
		all = append(all, "SMTPUTF8")
	} else if p.Ret != "" {
		all = append(all, "BODY=8BITMIME", "RET=HDRS", "ENVID=env+20")
	}
	return all
}

// attempted lets some messages have been tried: deferred, delivered to one of
// their recipients, or interrupted. It returns who is left.
func attempted(t *testing.T, store *bolt.Store, id queue.ID, n int) (left []string) {
	t.Helper()
	claimed := []queue.Message{}
	var err error
	if n%7 < 3 {
		if claimed, err = store.Claim(context.Background(), []queue.ID{id}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range claimed { // none if it is held
		results := map[int]queue.Result{}
		for i := range m.Envelope.Recipients {
			results[i] = queue.Result{At: time.Now(), Action: queue.Deferred, Scope: queue.ScopeOneRecipient, Reply: queue.Reply{Command: "RCPT", Code: 451, Enhanced: "4.3.2", Text: "later"}}
		}
		if n%7 == 1 {
			results[0] = queue.Result{At: time.Now(), Action: queue.Delivered, Reply: queue.Reply{Command: "DATA", Code: 250}}
		}
		if n%7 == 2 {
			continue // its process dies
		}
		if err := store.Settle(context.Background(), queue.Plan(queue.DefaultSchedule(), m, results, time.Now())); err != nil {
			t.Fatal(err)
		}
	}
	m, err := store.Message(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range m.Envelope.Recipients {
		if !r.Last.Action.Final() {
			left = append(left, r.ForwardPath)
		}
	}
	return left
}

// stalled is a way to a control socket on which nothing comes any more after
// some bytes of an answer.
func stalled(t *testing.T, socket string, after int64) (path string, reached chan struct{}) {
	t.Helper()
	path, reached = filepath.Join(t.TempDir(), "stalled.sock"), make(chan struct{})
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { l.Close(); serving.Wait() })
	serving.Go(func() {
		client, err := l.Accept()
		if err != nil {
			return
		}
		defer client.Close()
		relay, err := net.Dial("unix", socket)
		if err != nil {
			t.Error(err)
			return
		}
		serving.Go(func() {
			_, _ = io.CopyN(client, relay, after)
			close(reached)
		})
		_, _ = io.Copy(relay, client) // until the client dies
		relay.Close()
	})
	return path, reached
}

// TestMoveABacklog exports a backlog, kills the export on the way and goes on,
// imports it into another relay, and delivers it from there: every byte and
// every recipient arrives, once. What is imported again changes nothing, here
// and there.
func TestMoveABacklog(t *testing.T) {
	t.Parallel()
	folder, there := t.TempDir(), t.TempDir()
	messages := fill(t, filepath.Join(folder, "data", "queue"))
	here := serve(t, folder, fmt.Sprintf(holdConfig, folder+"/data", folder+"/admin.sock", unusedAt(t, "127.0.0.29:0")))
	tar := filepath.Join(folder, "backlog.tar")

	path, reached := stalled(t, folder+"/admin.sock", 9<<20)
	killed := exec.Command(binary, "--socket", path, "queue", "export", "-O", tar)
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	<-reached
	_ = killed.Process.Kill() // fails only if it has ended
	var signal *exec.ExitError
	if err := killed.Wait(); !errors.As(err, &signal) || signal.Exited() {
		t.Fatalf("the export ended with: %v", err)
	}
	if out := here.cli("queue", "export", "-O", tar); !strings.Contains(out, "wrote "+tar+": 200 messages") || !strings.Contains(out, "were there from an export that was interrupted") {
		t.Errorf("%s", out)
	}
	if found, err := os.Stat(tar); err != nil || found.Mode() != 0o600 {
		t.Errorf("%v, %v", found, err)
	}
	if out := here.cli("queue", "import", tar); !strings.Contains(out, "Taken in: 0 messages") || !strings.Contains(out, "200 are here already") {
		t.Errorf("back home: %s", out)
	}

	exo, err := primary.Start(context.Background(), primary.Options{Addresses: []string{"127.0.0.31:0"}, Domains: []string{"corp.example"}})
	if err != nil {
		t.Fatal(err)
	}
	defer exo.Close()
	other := serve(t, there, fmt.Sprintf(damageConfig, there+"/data", there+"/admin.sock", unusedAt(t, "127.0.0.32:0"), exo.Addrs()[0]))
	if out := other.cli("queue", "import", tar, "--dry-run"); !strings.Contains(out, "Would be taken in: 200 messages") {
		t.Errorf("%s", out)
	}
	if out := other.cli("queue", "import", tar, "--confirm", "200"); !strings.Contains(out, "Taken in: 200 messages") {
		t.Errorf("%s", out)
	}
	if st, err := other.client.Status(context.Background()); err != nil || st.Queue.ByState["held"] != movingMessages || len(exo.Received()) != 0 {
		t.Errorf("%+v, %v", st.Queue, err)
	}
	other.cli("queue", "release", "--all", "--yes")
	pending := 0
	for _, m := range messages {
		pending += len(m.recipients)
	}
	st := other.until("all is delivered", time.Minute, func(st admin.Status) bool { return st.Queue != nil && st.Queue.Messages == 0 })
	if st.Account.Missing != 0 || !st.NothingLost {
		t.Errorf("%+v", st)
	}
	arrivedAsMoved(t, exo.Received(), messages)
	if out := other.cli("queue", "import", tar); !strings.Contains(out, "Taken in: 0 messages") || !strings.Contains(out, "200 are here already") {
		t.Errorf("again: %s", out)
	}
	here.cli("queue", "delete", "--all", "--reason", "moved", "--confirm", "200")
	if out := here.cli("queue", "import", tar); !strings.Contains(out, "Taken in: 0 messages") {
		t.Errorf("what was deleted came back: %s", out)
	}
}

// arrivedAsMoved compares what the primary got with what was to be delivered.
func arrivedAsMoved(t *testing.T, arrived []primary.Delivery, messages map[string]moved) {
	t.Helper()
	got := map[string][]string{}
	for _, d := range arrived {
		want, ok := messages[d.MessageID]
		if !ok || !bytes.Equal(d.Content, want.content) {
			t.Errorf("%s: %d bytes arrived, not %d", d.MessageID, len(d.Content), len(want.content))
		}
		for _, word := range want.params {
			if !strings.Contains(d.Params, word) {
				t.Errorf("%s: %q has no %s", d.MessageID, d.Params, word)
			}
		}
		for i, r := range d.Recipients {
			if strings.HasPrefix(r, `"b`) && (!strings.Contains(d.RecipientParams[i], "NOTIFY=FAILURE,DELAY") || !strings.Contains(d.RecipientParams[i], "ORCPT=rfc822;bob@old.example")) {
				t.Errorf("%s: %q", d.MessageID, d.RecipientParams[i])
			}
		}
		got[d.MessageID] = append(got[d.MessageID], d.Recipients...)
	}
	for id, want := range messages {
		slices.Sort(got[id])
		slices.Sort(want.recipients)
		if !slices.Equal(got[id], want.recipients) {
			t.Errorf("%s arrived for %q, not for %q", id, got[id], want.recipients)
		}
	}
}
