package integration

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// goalLargeHeap is what the relay may have on its heap, however large messages
// are and however many come at once.
const goalLargeHeap = 96 << 20

// largeConfig is a relay with one upstream.
const largeConfig = `hostname: mx2.corp.example
data: %q
socket: %q
http:
  listen: ""
inbound:
  listen: [%q]
  timeouts:
    greeting: 0s
domains:
  - name: corp.example
upstreams:
  - name: exo
    hosts: [%q]
    tls:
      server_name: %s
      ca: %q
    delivery:
      start_rate: 1000000
      wait: 100ms
    probe:
      every: 1s
      every_bad: 1s
    health:
      trials: 2
dns:
  servers: ["127.0.0.9:1"]
`

// shape is how many sessions send a message of which size, all at once.
type shape struct {
	sessions int
	size     int64
}

// largeShape is the whole one with MXKEEP_SOAK=1.
func largeShape() shape {
	if os.Getenv("MXKEEP_SOAK") != "" {
		return shape{20, 100 << 20}
	}
	return shape{5, 20 << 20}
}

// TestLargeMail: large messages come in over many sessions at once, are held,
// and go out to the primary unchanged, and hardly anything of them is ever in
// memory.
func TestLargeMail(t *testing.T) {
	large := largeShape()
	folder, address := t.TempDir(), unused(t)
	exo, err := primary.Start(t.Context(), primary.Options{Addresses: []string{"127.0.0.2:0"}, Domains: []string{"corp.example"}, Folder: filepath.Join(folder, "primary")})
	if err != nil {
		t.Fatal(err)
	}
	defer exo.Close()
	if err := exo.Play(primary.Scenario{Name: "down", Down: true}); err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(folder, "ca.pem")
	if err := os.WriteFile(ca, exo.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	relay := serveTraced(t, folder, fmt.Sprintf(largeConfig, folder+"/data", folder+"/admin.sock", address, exo.Addrs()[0], exo.Hostname(), ca))
	relay.until("outage", 20*time.Second, func(s admin.Status) bool { return s.Upstreams[0].State == "down" })

	begun := time.Now()
	sent := sendLarge(t, address, large)
	if t.Failed() {
		return
	}
	in, came := heap(t, relay), time.Since(begun)
	begun = time.Now()
	if err := exo.Play(primary.Scenario{Name: "healthy"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	received, err := exo.Await(ctx, large.sessions)
	if err != nil {
		t.Fatal(err)
	}
	out, went := heap(t, relay), time.Since(begun)
	relay.until("empty queue", 20*time.Second, func(s admin.Status) bool { return s.Queue.Messages == 0 && s.NothingLost })
	checkReceived(t, filepath.Join(folder, "primary"), received, sent)
	t.Logf("%d sessions of %d MiB: at most %d MiB of heap on the way in, which took %.1f s, and %d MiB until they were out, which took %.1f s; %d MiB of private memory",
		large.sessions, large.size>>20, in>>20, came.Seconds(), out>>20, went.Seconds(), privateMemory(t, relay.cmd.Process.Pid)>>20)
	if out >= goalLargeHeap {
		t.Errorf("the heap was %d MiB", out>>20)
	}
}

// sendLarge sends a message over each session, all at once, and returns their digests.
func sendLarge(t *testing.T, address string, large shape) map[string]bool {
	t.Helper()
	var mu sync.Mutex
	sent := map[string]bool{}
	var group sync.WaitGroup
	for i := range large.sessions {
		group.Go(func() {
			digest, err := sendOneLarge(address, i, large.size)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			sent[digest] = true
		})
	}
	group.Wait()
	return sent
}

// sendOneLarge sends content that is never in memory as a whole, and returns its digest.
func sendOneLarge(address string, number int, size int64) (digest string, err error) {
	s, err := connect(address)
	if err != nil {
		return "", err
	}
	defer s.Close()
	s.SetDeadline(time.Now().Add(5 * time.Minute))
	announced := fmt.Sprintf("MAIL FROM:<alice@client.example> SIZE=%d\r\n", size)
	if err := s.send(dialogue{{[]byte(announced), 1}, {[]byte(rcptCommand), 1}, {[]byte(dataCommand), 1}}); err != nil {
		return "", err
	}
	sum := sha256.New()
	to := io.MultiWriter(s, sum)
	head := fmt.Sprintf("From: alice@client.example\r\nSubject: large\r\nMessage-ID: <large-%d@client.example>\r\n\r\n", number)
	if _, err := io.WriteString(to, head); err != nil {
		return "", err
	}
	line := fmt.Sprintf("%-74d\r\n", number)
	block := []byte(strings.Repeat(line, 1000))
	for left := size - int64(len(head)); left >= int64(len(line)); {
		piece := block[:min(int64(len(block)), left/int64(len(line))*int64(len(line)))]
		if _, err := to.Write(piece); err != nil {
			return "", err
		}
		left -= int64(len(piece))
	}
	return hex.EncodeToString(sum.Sum(nil)), s.say(step{[]byte(".\r\n"), 1})
}

// checkReceived finds every digest once among what the primary has, behind the
// field that the relay has put before the content.
func checkReceived(t *testing.T, folder string, received []primary.Delivery, sent map[string]bool) {
	t.Helper()
	for _, d := range received {
		file, err := os.Open(filepath.Join(folder, d.File))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if err = skipTrace(file); err == nil {
			_, err = io.Copy(sum, file)
		}
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		digest := hex.EncodeToString(sum.Sum(nil))
		if !sent[digest] {
			t.Errorf("%s of %d bytes was not sent, or came twice", d.File, d.Size)
		}
		delete(sent, digest)
	}
	if len(sent) != 0 {
		t.Errorf("%d messages have not come", len(sent))
	}
}

// skipTrace leaves the file at the first octet of the content as it was sent.
func skipTrace(file *os.File) error {
	head := make([]byte, 4<<10)
	n, err := io.ReadFull(file, head)
	if err != nil {
		return err
	}
	begin := bytes.Index(head[:n], []byte("From: alice@"))
	if begin < 0 {
		return fmt.Errorf("%s has no From field", file.Name())
	}
	_, err = file.Seek(int64(begin), io.SeekStart)
	return err
}
