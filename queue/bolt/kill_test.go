package bolt

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
)

// childVariable names the folder that a child process of TestKilledProcess works in.
const childVariable = "BOLT_TEST_CHILD"

// TestKilledProcess lets a child process accept and settle until it is killed,
// and then looks for everything that it said was done. Ten lives of one store.
func TestKilledProcess(t *testing.T) { killed(t, Options{GenerationSize: 4 << 20}) }

// TestKilledWhileGivingBack does the same while files go as soon as they can.
func TestKilledWhileGivingBack(t *testing.T) {
	o := restless()
	o.Interrupted = 0
	killed(t, o)
}

func killed(t *testing.T, o Options) {
	if dir := os.Getenv(childVariable); dir != "" {
		work(t, dir, o)
		return
	}
	dir := t.TempDir()
	digests, settled := map[queue.ID]string{}, map[queue.ID]bool{}
	for round := range 10 {
		child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v=false")
		child.Env = append(os.Environ(), childVariable+"="+dir)
		child.Stderr = os.Stderr
		output, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(output)
		for left := 1 + rand.IntN(150); lines.Scan(); left-- { // what is in the pipe has been said, too
			var verb, digest string
			var id queue.ID
			if _, err := fmt.Sscan(lines.Text(), &verb, &id, &digest); err != nil {
				t.Fatalf("the child said %q: %v", lines.Text(), err)
			}
			if verb == "settled" {
				settled[id] = true
			} else {
				digests[id] = digest
			}
			if left == 0 {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := child.Wait(); err == nil || lines.Err() != nil {
			t.Fatalf("the child ended by itself: %v", lines.Err())
		}
		s := open(t, dir, Options{})
		queuetest.Balanced(t, s)
		if n := keys(t, s, bucketDrafts); n != 0 {
			t.Errorf("%d drafts are left", n)
		}
		for id, digest := range digests {
			if _, err := s.Message(t.Context(), id); errors.Is(err, queue.ErrNotFound) && o.Quiet > 0 && wasDelivered(t, s, id) {
				continue // its file has gone
			}
			if r, err := s.Content(t.Context(), id); err != nil {
				t.Errorf("round %d: %v", round, err)
			} else if _, err := io.Copy(io.Discard, r); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
			if m, err := s.Message(t.Context(), id); err != nil || m.Digest.String() != digest || settled[id] && m.State() != queue.StateDelivered {
				t.Errorf("round %d: %s is %s, %v; settled %t", round, id, m.State(), err, settled[id])
			}
		}
		if chain, err := s.Verify(t.Context()); err != nil || len(chain.Faults) > 0 {
			t.Errorf("%+v, %v", chain, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d messages, %d settled", len(digests), len(settled))
}

// wasDelivered asks the ledger.
func wasDelivered(t *testing.T, s *Store, id queue.ID) bool {
	t.Helper()
	for e, err := range s.Ledger(t.Context(), queue.LedgerFilter{ID: id, Events: []queue.Event{queue.Attempted}}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Results[0].Action == queue.Delivered {
			return true
		}
	}
	return false
}

// work accepts and settles without end, and says what is done.
func work(t *testing.T, dir string, o Options) {
	s := open(t, dir, o)
	a := benchAcceptance(t)
	var mu sync.Mutex
	say := func(verb string, id queue.ID, digest queue.Digest) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(verb, id, digest)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for {
				body := make([]byte, rand.IntN(1<<(1+rand.IntN(19))))
				for i := range body {
					body[i] = byte(rand.Uint32())
				}
				id, err := tryAccept(s, a, body)
				if err != nil {
					panic(err)
				}
				say("accepted", id, sha256.Sum256(body))
				if rand.IntN(2) == 0 {
					continue
				}
				claimed, err := s.Claim(context.Background(), []queue.ID{id}, time.Hour)
				if err == nil {
					err = s.Settle(context.Background(), queue.Settlement{ID: id, Attempt: claimed[0].Attempts, Results: map[int]queue.Result{0: {Action: queue.Delivered}}})
				}
				if err != nil {
					panic(err)
				}
				say("settled", id, claimed[0].Digest)
			}
		})
	}
	group.Wait()
}
