package integration

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// way is how a message goes through the relay.
type way struct {
	name   string
	held   bool // by the queue; otherwise the primary takes it while the sender waits
	chunks bool // it comes by BDAT
}

var ways = []way{{"passed.data", false, false}, {"passed.bdat", false, true}, {"held.data", true, false}, {"held.bdat", true, true}}

// nobody is the server of names in largeConfig.
const nobody = "127.0.0.9:1"

// TestBytes sends each message of the corpus on each way, and looks at what has
// arrived: behind our fields its octets are the same, and each signature that
// another implementation made is good for both, and for the relay if the message
// was held. Then it changes what arrived, each message a little, to see that such
// a change would have been found.
//
// Only fields that pretend to be our Authentication-Results are taken out; some
// messages have one, which is not signed.
//
// Outwards there is only DATA, which adds the last CRLF where a message has none
// (RFC 5321 4.1.1.4). DKIM reckons with it (RFC 6376 3.4.3).
func TestBytes(t *testing.T) {
	t.Parallel()
	signer := startDkimpy(t)
	f := newFrontOf(t, func(t testing.TB, folder, config string) *daemon {
		return serve(t, folder, strings.Replace(config, nobody, signer.serveKeys(), 1))
	}, t.TempDir(), primary.Options{})
	j := &journey{front: f, dkimpy: signer, all: corpus(corpusSeed, corpusSize), kept: map[string]*specimen{}}
	signer.sign(j.all)
	for _, m := range j.all {
		m.pretend()
	}

	j.sendAll(false)
	arrived := f.exo.Received()
	var passed sync.WaitGroup // verifying takes its time, so it goes on beside the rest
	passed.Go(func() { j.checkArrived(arrived) })
	defer passed.Wait()
	f.play("down")
	f.until("down")
	j.sendAll(true)
	j.checkKept()
	f.play("healthy")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	received, err := f.exo.Await(ctx, len(ways)*len(j.all))
	if err != nil {
		t.Fatal(err)
	}
	passed.Wait()
	half := int64(len(arrived))
	f.relay.until("account", 5*time.Second, func(s admin.Status) bool {
		return s.NothingLost && s.Queue.Messages == 0 && s.Account.Passed == half && s.Account.Accepted == half && s.Account.Delivered == half
	})
	j.checkArrived(received[half:])
	j.checkNumbers(received)
	j.checkChanges(received)
}

// journey is all messages on all ways.
type journey struct {
	*front
	dkimpy *dkimpy
	all    []*specimen

	mu   sync.Mutex
	kept map[string]*specimen // by the relay's ID: those that end without CRLF, and came so
}

// sendAll sends all messages on the ways that are held, or the others.
func (j *journey) sendAll(held bool) {
	j.t.Helper()
	var senders sync.WaitGroup
	for _, w := range ways {
		if w.held != held {
			continue
		}
		for part := range 2 {
			senders.Go(func() {
				s, err := connect(j.address)
				if err != nil {
					j.t.Error(err)
					return
				}
				defer s.Close()
				s.SetDeadline(time.Now().Add(time.Minute))
				for _, m := range j.all {
					if m.number%2 == part {
						j.send(s, m, w)
					}
				}
			})
		}
	}
	senders.Wait()
	if j.t.Failed() {
		j.t.FailNow()
	}
}

// send sends a message, its envelope at once.
func (j *journey) send(s *sender, m *specimen, w way) {
	steps := dialogue{{[]byte(m.mail() + "RCPT TO:<" + recipient(m, w) + ">\r\n"), 2}}
	last := stuffed(ended(m.sent))
	if w.chunks {
		var chunks []step
		chunks, last = inChunks(m)
		steps = append(steps, chunks...)
	} else {
		steps = append(steps, step{[]byte("DATA\r\n"), 1})
	}
	reply, err := "", s.send(steps)
	if err == nil {
		reply, err = ask(s, string(last))
	}
	want := "250 2.6.0 <"
	if w.held {
		want = "250 2.0.0 queued as "
	}
	id, good := strings.CutPrefix(reply, want)
	if err != nil || !good {
		j.t.Errorf("message %d (%s) %s: %q, %v", m.number, m.shape, w.name, reply, err)
		return
	}
	if w.held && w.chunks && !m.ends() {
		j.mu.Lock()
		j.kept[id] = m
		j.mu.Unlock()
	}
}

// mail is the MAIL command.
func (s *specimen) mail() string {
	path := fmt.Sprintf("s%d@sender.example", s.number)
	if s.number%9 == 0 {
		path = ""
	}
	if s.utf8 {
		path = fmt.Sprintf("grüße%d@sender.example", s.number)
	}
	return "MAIL FROM:<" + path + ">" + s.params() + "\r\n"
}

// params are those of MAIL.
func (s *specimen) params() string {
	params := ""
	if s.body != "" {
		params = " BODY=" + s.body
	}
	if s.utf8 {
		params += " SMTPUTF8"
	}
	return params
}

// ends reports whether the content ends with a CRLF.
func (s *specimen) ends() bool { return bytes.HasSuffix(s.content, []byte("\r\n")) }

// ended is a content as DATA can carry it.
func ended(content []byte) []byte {
	if bytes.HasSuffix(content, []byte("\r\n")) {
		return content
	}
	return append(slices.Clip(content), "\r\n"...)
}

// inChunks divides a content into chunks, often where it hurts: behind a CR, or
// before a dot. The last one has its command.
func inChunks(m *specimen) (chunks []step, last []byte) {
	random := rand.New(rand.NewPCG(corpusSeed, uint64(m.number)))
	rest := m.sent
	for range random.IntN(5) {
		cut := random.IntN(len(rest) + 1)
		if found := bytes.IndexAny(rest[cut:], "\n."); found >= 0 && random.IntN(2) == 0 {
			cut += found
		}
		chunks = append(chunks, step{fmt.Appendf(nil, "BDAT %d\r\n%s", cut, rest[:cut]), 1})
		rest = rest[cut:]
	}
	return chunks, fmt.Appendf(nil, "BDAT %d LAST\r\n%s", len(rest), rest)
}

// checkKept looks at what the queue has of messages without their last CRLF.
func (j *journey) checkKept() {
	j.t.Helper()
	if len(j.kept) == 0 {
		j.t.Error("no message came without its last CRLF")
	}
	for id, m := range j.kept {
		var content bytes.Buffer
		if err := j.relay.client.Content(j.t.Context(), id, "raw", &content); err != nil {
			j.t.Fatal(err)
		}
		if flaw := compare(content.Bytes(), m.sent); flaw != "" {
			j.t.Errorf("message %d (%s) in the queue: %s", m.number, m.shape, flaw)
		}
	}
}

// checkArrived looks at what the primary has.
func (j *journey) checkArrived(received []primary.Delivery) {
	var contents [][]byte
	for _, d := range received {
		contents = append(contents, d.Content)
	}
	all, err := j.dkimpy.verifyByBoth(contents)
	if err != nil {
		j.t.Error(err)
		return
	}
	for i, d := range received {
		m := j.addressee(d)
		if m == nil {
			j.t.Errorf("something for %q arrived", d.Recipients)
			continue
		}
		if flaw := compare(d.Content, ended(m.content)); flaw != "" {
			j.t.Errorf("message %d (%s) for %s: %s", m.number, m.shape, d.Recipients, flaw)
		}
		if verified := strings.Count(string(d.Content[:len(d.Content)-len(ended(m.content))]), "dkim=pass"); verified != len(m.signatures) && strings.Contains(d.Recipients[0], ".held.") {
			j.t.Errorf("message %d (%s) for %s: the relay finds %d signatures good: %.2000q", m.number, m.shape, d.Recipients, verified, d.Content)
		}
		if v := all[i]; v.err != nil || !allPassed(v.msgauth, m) || !allPassed(v.dkimpy, m) {
			j.t.Errorf("message %d (%s) for %s, signed %v: %v", m.number, m.shape, d.Recipients, m.signatures, v)
		}
		if promised(d.Params) != promised(m.params()) {
			j.t.Errorf("message %d was sent with %q, and arrived with %q", m.number, m.params(), d.Params)
		}
	}
}

// checkNumbers: each message arrived once on each way.
func (j *journey) checkNumbers(received []primary.Delivery) {
	times := map[string]int{}
	for _, d := range received {
		times[d.Recipients[0]]++
	}
	for _, m := range j.all {
		for _, w := range ways {
			if n := times[recipient(m, w)]; n != 1 {
				j.t.Errorf("message %d %s arrived %d times", m.number, w.name, n)
			}
		}
	}
}

// promised are parameters of MAIL without the size.
func promised(params string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(params), func(p string) bool { return strings.HasPrefix(p, "SIZE=") }), " ")
}

// recipient tells who gets a message which way.
func recipient(m *specimen, w way) string {
	return fmt.Sprintf("m%d.%s@corp.example", m.number, w.name)
}

// addressee is which message arrived; nil if it is none of ours.
func (j *journey) addressee(d primary.Delivery) *specimen {
	number := -1
	if _, err := fmt.Sscanf(d.Recipients[0], "m%d.", &number); err != nil || number < 0 || number >= len(j.all) {
		return nil
	}
	return j.all[number]
}

func allPassed(verdicts []string, m *specimen) bool {
	return len(verdicts) == len(m.signatures) && !slices.ContainsFunc(verdicts, func(v string) bool { return v != passed })
}

// compare says how what arrived differs from what was sent, behind our fields; "" if it does not.
func compare(arrived, sent []byte) string {
	trace, same := bytes.CutSuffix(arrived, sent)
	results, received, found := strings.Cut("\r\n"+string(trace), "\r\nReceived: ")
	results = strings.TrimPrefix(results, "\r\n")
	switch {
	case !same:
		return fmt.Sprintf("its octets are not the same; it begins %.400q, and ends %.100q", arrived, arrived[max(0, len(arrived)-100):])
	case !found, !isField("Received: " + received), traceID.FindString("Received: "+received) == "", results != "" && !isField(results+"\r\n"):
		return fmt.Sprintf("%q stands before it", trace)
	}
	return ""
}

// isField reports whether text is one field that the relay writes.
func isField(text string) bool { return ownField.MatchString(text) }

// ownField is a field whose lines all but the first begin with a tab.
var ownField = regexp.MustCompile(`\A(Received|Authentication-Results): [^\r\n]+(\r\n\t[^\r\n]+)*\r\n\z`)
