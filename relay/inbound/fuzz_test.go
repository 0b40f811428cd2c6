package inbound

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"unicode"
	"unicode/utf8"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

var queuedAs = regexp.MustCompile(`(?m)^250 2\.0\.0 queued as (.*)$`)

func FuzzCommand(f *testing.F) {
	for _, seed := range []string{"EHLO a\r\n", "BDAT 5 LAST\r\n", "RCPT TO:<\"a>b\\\"\"@x> NOTIFY=NEVER\r\n", "rcpt to: a@x\r\n",
		"STARTTLS\r\n", "NOOP\n", "\x1b\r\n", "GET / HTTP/1.1\r\n", "BDAT +5\r\n", "RCPT TO:<a@b@c>\r\n", "MAIL FROM:<@a:\"b\"@c@d> SIZE=5\r\n",
		"RCPT TO:<postmaster> NOTIFY=NEVER\r\n", "VRFY\r\n", "HELP\r\n", "XCLIENT a=b\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		c, bad := parseCommand(line)
		if bad != nil {
			if bad.reply.Positive() || bad.reason == "" || strings.ContainsFunc(bad.reply.Text(), unicode.IsControl) {
				t.Fatalf("%q: %+v", line, bad)
			}
			return
		}
		text := strings.TrimSuffix(string(line), "\r\n")
		if len(line) > maxLine || len(text)+2 != len(line) || strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text) {
			t.Fatalf("%q is taken", line)
		}
		if c.chunk < 0 || c.chunk > 0 && c.verb != "BDAT" {
			t.Fatalf("%q: a chunk of %d", line, c.chunk)
		}
		if c.verb == "RCPT" {
			if again, err := smtp.ParsePath(c.path.String()); err != nil || again != c.path || c.path.IsNull() {
				t.Fatalf("%q: path %+v, %v", line, c.path, err)
			}
		}
	})
}

// FuzzDialogue talks to a whole server. A panic would end the test; besides,
// for each 250 to the end of content there is a message in the store, each
// message has an envelope that can be written, and no control character comes back.
func FuzzDialogue(f *testing.F) {
	const open = "EHLO a.example\r\nMAIL FROM:<s@far.example>\r\nRCPT TO:<a@d.example>\r\n"
	for _, seed := range []string{
		open + "DATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n",
		open + "DATA\r\na\r\n.\r\r\nb\n.\r\n.\r\n" + open + "BDAT 3\r\nabcBDAT 2 LAST\r\n\r\nRSET\r\n",
		open + "BDAT 0\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<b@f.example>\r\nBDAT 0 LAST\r\n",
		open + "BDAT 100 LAST\r\nshort",
		"HELO \x1b\r\nHELO a\r\nMAIL FROM:<\"\\\r\"@x> ENVID=+0D RET=FULL\r\nRCPT TO:<@a:b@d.example> ORCPT=rfc822;+00\r\n",
		open + "MAIL FROM:<>\r\nSTARTTLS\r\nAUTH PLAIN =\r\nDATA\r\n" + strings.Repeat(".\r\nx", 30) + "\r\n.\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		open + "BDAT 4294967295 LAST\r\n" + strings.Repeat("\x00", 100),
	} {
		f.Add([]byte(seed), uint8(3), true)
		f.Add([]byte(seed), uint8(255), false)
	}
	f.Fuzz(func(t *testing.T, said []byte, size uint8, reset bool) {
		synctest.Test(t, func(t *testing.T) { dialogue(t, said, max(1, int(size)), reset) })
	})
}

// dialogue says everything in pieces and goes.
func dialogue(t *testing.T, said []byte, size int, reset bool) {
	r := newRig(t, nil)
	w := r.dial("192.0.2.1")
	for p := said; len(p) > 0; {
		n := min(size, len(p))
		if _, err := w.conn.Write(p[:n]); err != nil {
			break
		}
		p = p[n:]
	}
	if reset { // let the server see the end while it waits
		synctest.Wait()
	}
	w.close()
	replies := strings.Join(w.rest(), "\n")
	r.finish()
	if strings.Contains(r.log.String(), "session.panic") {
		t.Fatalf("%q: %s", said, r.log)
	}
	for _, id := range queuedAs.FindAllStringSubmatch(replies, -1) {
		if _, err := r.store.Message(t.Context(), queue.ID(id[1])); err != nil {
			t.Fatalf("%q: replies\n%s\nbut %v", said, replies, err)
		}
	}
	if n := len(r.messages()); n > bytes.Count(bytes.ToUpper(said), []byte("LAST"))+bytes.Count(said, []byte(".\r\n")) {
		t.Fatalf("%q: %d messages, replies\n%s", said, n, replies)
	}
	if strings.ContainsFunc(strings.ReplaceAll(replies, "\n", ""), unicode.IsControl) {
		t.Fatalf("%q comes back in %q", said, replies)
	}
	for _, m := range r.messages() {
		if _, err := smtp.ParsePath(m.Envelope.ReversePath); err != nil {
			t.Fatalf("%q: %+v", said, m.Envelope)
		}
		for _, to := range m.Envelope.Recipients {
			if p, err := smtp.ParsePath(to.ForwardPath); err != nil || p.Domain == "" {
				t.Fatalf("%q: %+v", said, m.Envelope)
			}
		}
		if _, content := r.content(m.ID); strings.ContainsAny(strings.ReplaceAll(content, "\r\n", ""), "\r\n") {
			t.Fatalf("%q: content %q", said, content)
		}
	}
}
