package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/queue/failpoint"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// frontConfig is largeConfig for a relay that stands before its upstream, and
// looks at it more often.
var frontConfig = strings.NewReplacer("inbound:\n", "inbound:\n  role: front\n", "every: 1s", "every: 100ms", "every_bad: 1s", "every_bad: 100ms").Replace(largeConfig)

// front is a relay that stands before a primary.
type front struct {
	t       testing.TB
	exo     *primary.Server
	folder  string
	address string
	config  string
	relay   *daemon
}

func newFront(t testing.TB, begin func(testing.TB, string, string) *daemon) *front {
	t.Helper()
	folder := t.TempDir()
	return newFrontOf(t, begin, folder, primary.Options{Folder: filepath.Join(folder, "primary")})
}

// newFrontOf is newFront with a primary as the options say.
func newFrontOf(t testing.TB, begin func(testing.TB, string, string) *daemon, folder string, o primary.Options) *front {
	t.Helper()
	f := &front{t: t, folder: folder, address: unused(t)}
	o.Addresses, o.Domains = []string{"127.0.0.2:0"}, []string{"corp.example"}
	var err error
	if f.exo, err = primary.Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.exo.Close() })
	ca := filepath.Join(f.folder, "ca.pem")
	if err := os.WriteFile(ca, f.exo.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	f.config = fmt.Sprintf(frontConfig, f.folder+"/data", f.folder+"/admin.sock", f.address, f.exo.Addrs()[0], f.exo.Hostname(), ca)
	f.relay = begin(t, f.folder, f.config)
	f.until("up")
	return f
}

// until waits for a state of the primary.
func (f *front) until(state string) {
	f.t.Helper()
	f.relay.until(state, 30*time.Second, func(s admin.Status) bool { return s.Upstreams[0].State == state })
}

func (f *front) play(name string) {
	f.t.Helper()
	scenario := primary.Scenario{Name: "down", Down: true}
	var err error
	if name != "down" {
		scenario, err = primary.Named(name)
	}
	if err == nil {
		err = f.exo.Play(scenario)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// ask says something over a session and returns the reply to it.
func ask(s *sender, text string) (string, error) {
	if _, err := s.Write([]byte(text)); err != nil {
		return "", err
	}
	for {
		line, err := s.in.ReadString('\n')
		if err != nil || len(line) > 3 && line[3] == ' ' {
			return strings.TrimSpace(line), err
		}
	}
}

// letterOf is a message of that number.
func letterOf(n int) string {
	return fmt.Sprintf("Message-ID: <front-%d@client.example>\r\nSubject: %d\r\n\r\nbody\r\n.\r\n", n, n)
}

// offer sends a message; between is done when the recipient is accepted. The
// reply is the last one.
func (f *front) offer(n int, between func()) string {
	f.t.Helper()
	s, err := connect(f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	defer s.Close()
	for _, text := range []string{mailCommand, rcptCommand} {
		if reply, err := ask(s, text); err != nil || reply[0] != '2' {
			f.t.Fatalf("%s: %q, %v", text, reply, err)
		}
	}
	if between != nil {
		between()
	}
	reply, err := ask(s, dataCommand)
	if err == nil && reply[0] == '3' {
		reply, err = ask(s, letterOf(n))
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return reply
}

// copies counts what the primary has by Message-ID.
func (f *front) copies() map[string]int {
	copies := map[string]int{}
	for _, d := range f.exo.Received() {
		copies[d.MessageID]++
	}
	return copies
}

// TestFront goes through an outage that begins within a transaction.
func TestFront(t *testing.T) {
	f := newFront(t, serve)
	wantPrefix := func(reply, prefix string) {
		t.Helper()
		if !strings.HasPrefix(reply, prefix) {
			t.Errorf("reply %q, want %q", reply, prefix)
		}
	}
	wantPrefix(f.offer(1, nil), "250 2.6.0 <front-1@client.example> [InternalId=")
	wantPrefix(f.offer(2, func() { f.play("down") }), "250 2.0.0 queued as ")
	f.until("down")
	wantPrefix(f.offer(3, nil), "250 2.0.0 queued as ")
	f.play("healthy")
	f.until("up")
	f.relay.until("empty queue", 30*time.Second, func(s admin.Status) bool { return s.Queue.Messages == 0 })
	f.play("lost-ack=1")
	reply := f.offer(4, nil)
	wantPrefix(reply, "250 2.0.0 queued as ")
	f.relay.until("empty queue", 30*time.Second, func(s admin.Status) bool { return s.Queue.Messages == 0 })
	f.play("healthy")
	wantPrefix(f.offer(5, nil), "250 2.6.0 <front-5@client.example>")

	for n, want := range map[int]int{1: 1, 2: 1, 3: 1, 4: 2, 5: 1} {
		if got := f.copies()[fmt.Sprintf("<front-%d@client.example>", n)]; got != want {
			t.Errorf("message %d arrived %d times, not %d", n, got, want)
		}
	}
	a := f.relay.until("account", 5*time.Second, func(s admin.Status) bool { return s.NothingLost }).Account
	if a.Passed != 2 || a.Accepted != 3 || a.Delivered != 3 || a.Missing != 0 {
		t.Errorf("account %+v", a)
	}
	marked, passed := false, false
	_, id, _ := strings.Cut(reply, "queued as ")
	for _, query := range []string{id, "<front-1@client.example>"} {
		if err := f.relay.client.Trace(t.Context(), query, 100, func(e admin.Entry) error {
			marked = marked || e.Event == "accepted" && slices.ContainsFunc(e.Results, func(r admin.Reply) bool { return r.MaybeDuplicate })
			passed = passed || e.Event == "passed"
			return nil
		}, func(admin.Message) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if !marked || !passed {
		t.Errorf("the trace marks the duplicate: %v, has what was passed: %v", marked, passed)
	}
	if said := f.relay.cli("explain", "--to", "bob@corp.example", "--upstream", "down"); !strings.HasPrefix(said, "take") || !strings.Contains(said, "upstream_down") {
		t.Errorf("explain: %s", said)
	}
	checkTraces(t, f)
}

// checkTraces looks whether what arrived is what was sent, behind our fields.
func checkTraces(t *testing.T, f *front) {
	t.Helper()
	all, err := primary.ReadRecord(filepath.Join(f.folder, "primary"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		var n int
		if _, err := fmt.Sscanf(d.MessageID, "<front-%d@client.example>", &n); err != nil {
			t.Errorf("%s arrived", d.MessageID)
			continue
		}
		sent := strings.TrimSuffix(letterOf(n), ".\r\n")
		trace, whole := bytes.CutSuffix(d.Content, []byte(sent))
		if !whole || bytes.Count(trace, []byte("Received: ")) != 1 || relayID(d.Content) == "" {
			t.Errorf("message %d arrived as %q", n, d.Content)
		}
	}
}

// TestLargePassage: a large message passes, and hardly anything of it is ever in memory.
func TestLargePassage(t *testing.T) {
	size := int64(20 << 20)
	if os.Getenv("MXKEEP_SOAK") != "" {
		size = 100 << 20
	}
	f := newFront(t, serveTraced)
	digest, err := sendOneLarge(f.address, 1, size)
	if err != nil {
		t.Fatal(err)
	}
	received := f.exo.Received()
	checkReceived(t, filepath.Join(f.folder, "primary"), received, map[string]bool{digest: true})
	f.relay.until("account", 5*time.Second, func(s admin.Status) bool { return s.Account.Passed == 1 && s.Account.Accepted == 0 })
	most := heap(t, f.relay)
	t.Logf("%d MiB passed with at most %d MiB of heap", size>>20, most>>20)
	if most >= goalLargeHeap {
		t.Errorf("the heap was %d MiB", most>>20)
	}
}

// passPoints are those at which a passage can be broken off.
var passPoints = []failpoint.Point{failpoint.InboundRcpt, failpoint.PassConsent, failpoint.InboundContent, failpoint.PassContent,
	failpoint.PassDot, failpoint.PassTaken, failpoint.PassNoted, failpoint.InboundAnswered}

// TestPassFailPoints kills the relay at each step of a message that is passed.
// A sender that has no 250 sends again; what it has one for is at the primary.
func TestPassFailPoints(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mxkeep")
	if out, err := exec.Command("go", "build", "-tags", "failpoint", "-o", path, "../cmd/mxkeep").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	f := newFront(t, serve)
	f.relay.stop()
	for i, point := range passPoints {
		answered := f.dieAt(path, point, i)
		arrived := f.copies()[fmt.Sprintf("<front-%d@client.example>", i)]
		if answered && arrived == 0 {
			t.Errorf("%s: answered with 250, and it did not arrive", point)
		}
		if taken := slices.Index(passPoints, failpoint.PassTaken); i >= taken && arrived != 1 || i < slices.Index(passPoints, failpoint.PassDot) && arrived != 0 {
			t.Errorf("%s: %d copies", point, arrived)
		}
	}
	f.relay = serve(t, f.folder, f.config)
	f.until("up")
	for i := range passPoints {
		if reply := f.offer(i, nil); !strings.HasPrefix(reply, "250 2.6.0") {
			t.Errorf("message %d again: %q", i, reply)
		}
		if f.copies()[fmt.Sprintf("<front-%d@client.example>", i)] == 0 {
			t.Errorf("message %d has not arrived", i)
		}
	}
	st := f.relay.until("account", 5*time.Second, func(s admin.Status) bool { return s.NothingLost && s.Account != nil })
	if a := st.Account; a.Accepted != 0 || a.Missing != 0 || a.Passed != int64(len(passPoints))+2 { // twice those that were noted before the death
		t.Errorf("account %+v", a)
	}
	checkTraces(t, f)
}

// dieAt offers a message to a relay that dies at the point, and reports whether it was answered with 250.
func (f *front) dieAt(binary string, point failpoint.Point, n int) (answered bool) {
	f.t.Helper()
	cmd := exec.Command(binary, "serve", "--allow-root", "--config", filepath.Join(f.folder, "mxkeep.yaml"))
	cmd.Env = append(os.Environ(), failpoint.Variable+"="+string(point))
	var words bytes.Buffer
	cmd.Stderr = &words
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer late.Stop()
	f.relay.until("answer", patience, func(s admin.Status) bool { return s.Ready })
	s, err := connect(f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	defer s.Close()
	for _, text := range []string{mailCommand, rcptCommand, dataCommand, letterOf(n)} {
		reply, err := ask(s, text)
		if err != nil {
			break
		}
		answered = text == letterOf(n) && strings.HasPrefix(reply, "250")
	}
	_ = cmd.Wait() // it was killed
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || status.Signal() != syscall.SIGKILL || !strings.Contains(words.String(), failpoint.Epitaph(point)) {
		f.t.Errorf("the relay did not die at %s: %v\n%s", point, cmd.ProcessState, words.String())
	}
	return answered
}
