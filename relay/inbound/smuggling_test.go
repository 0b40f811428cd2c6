package inbound

import (
	"fmt"
	"strings"
	"testing"
)

// smuggles are what senders tried to pass for the end of the data. bare are
// those that have a lone CR or LF, which is refused; the others are content.
var smuggles = []struct {
	form string
	bare bool
}{
	{"\n.\n", true}, {"\n.\r\n", true}, {"\r\n.\n", true}, {"\r.\r", true}, {"\r.\r\n", true}, {"\r\n.\r", true},
	{"\n.\r", true}, {"\r.\n", true}, {"\r\n\x00.\r\n", false}, {"\r\n.\x00\r\n", false}, {"\r\n.\r\r\n", true},
	{"\n\n.\n\n", true},
}

const second = "MAIL FROM:<boss@d.example>\r\nRCPT TO:<a@d.example>\r\nDATA\r\nFrom: boss@d.example\r\n\r\nforged\r\n"

// TestSmuggling: only CRLF.CRLF ends the data. One message at most, one reply,
// and nothing of the content is a command; in one piece, octet by octet, and within TLS.
func TestSmuggling(t *testing.T) {
	offered := withTLS(t)
	for _, s := range smuggles {
		content := "Subject: x\r\n\r\nfirst" + s.form + second
		for _, way := range []string{"pieces", "octets", "tls"} {
			t.Run(fmt.Sprintf("%q %s", s.form, way), func(t *testing.T) {
				r := newRig(t, offered)
				w := r.dial("192.0.2.1").hello()
				if way == "tls" {
					w.secure().ask("EHLO client.example", "250")
				}
				w.envelope()
				w.ask("DATA", "354")
				if way == "octets" {
					for _, c := range []byte(content) {
						w.say(string(c))
					}
				} else {
					w.say(content)
				}
				w.say(".\r\nNOOP\r\n")
				want := "250 2.0.0 queued as"
				if s.bare {
					want = "550 5.6.11"
				}
				w.want(want)
				w.want("250 2.0.0 I have")
				w.close()
				w.want("gone")
				r.finish()
				if n := len(r.messages()); n > 1 || s.bare != (n == 0) {
					t.Errorf("%d messages", n)
				}
			})
		}
	}
}

// TestTrueEndBehindCR: CR CRLF.CRLF has the true end in it. What stands behind
// it are the sender's own commands, and the message is refused.
func TestTrueEndBehindCR(t *testing.T) {
	r := newRig(t, nil)
	w := r.dial("192.0.2.1").hello().envelope()
	w.ask("DATA", "354")
	w.say("first\r\r\n.\r\nNOOP\r\n")
	w.want("550 5.6.11")
	w.want("250 2.0.0 I have")
	w.envelope()
	w.ask("DATA", "354")
	w.say("first\r\r\n.\r\r\nNOOP\r\n.\r\n")
	w.want("550 5.6.11")
	w.close()
	r.finish()
	if n := len(r.messages()); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// TestSmugglingInChunks: in chunks nothing ends the content, but a bare CR or LF is
// refused all the same, as it would be dangerous on its way out.
func TestSmugglingInChunks(t *testing.T) {
	for _, s := range smuggles {
		content := "Subject: x\r\n\r\nfirst" + s.form + second
		for _, size := range []int{1, 7, 1000} {
			r := newRig(t, nil)
			w := r.dial("192.0.2.1").hello().envelope()
			w.say(chunked(content, size) + "NOOP\r\n")
			for range (len(content) - 1) / size {
				w.want("250 2.0.0 Continue")
			}
			want := "250 2.0.0 queued as"
			if s.bare {
				want = "550 5.6.11"
			}
			w.want(want)
			w.want("250 2.0.0 I have")
			w.close()
			r.finish()
			if n := len(r.messages()); n > 1 || s.bare != (n == 0) {
				t.Errorf("%q in chunks of %d: %d messages", s.form, size, n)
			}
		}
	}
}

// TestFlawStays: what is refused between chunks does not make bad content good,
// and a message after a bad one is judged for itself.
func TestFlawStays(t *testing.T) {
	r := newRig(t, nil)
	w := r.dial("192.0.2.1").hello().envelope()
	w.transcript(`
		C: BDAT 3
	`)
	w.say("a\nb")
	w.want("250")
	w.ask("MAIL FROM:<t@far.example>", "503")
	w.ask("NOOP", "250")
	w.say("BDAT 2 LAST\r\n\r\n")
	w.want("550 5.6.11")
	w.envelope()
	w.say("BDAT 2 LAST\r\n\r\n")
	w.want("250 2.0.0 queued as")
	w.say("BDAT 3 LAST\r\na\nb") // of no transaction
	w.want("503")
	w.envelope()
	w.say("BDAT 2 LAST\r\n\r\n")
	w.want("250 2.0.0 queued as")
	w.close()
	r.finish()
}

// TestBytes: content leaves the store as it came, without the dots of the transfer.
func TestBytes(t *testing.T) {
	r := newRig(t, nil)
	content := "Subject: \xff\x00\r\n\r\n..\r\n.a\r\n \t\r\n" + strings.Repeat("z", 70000) + "\r\n"
	w := r.dial("192.0.2.1").hello().envelope()
	w.ask("DATA", "354")
	w.say(strings.ReplaceAll(content, "\r\n.", "\r\n..") + ".\r\n")
	w.want("250 2.0.0 queued as")
	w.envelope()
	w.say(chunked(content, 1000))
	for range (len(content) - 1) / 1000 {
		w.want("250 2.0.0 Continue")
	}
	w.want("250 2.0.0 queued as")
	w.close()
	r.finish()
	for _, m := range r.messages() {
		if _, got := r.content(m.ID); got != content {
			t.Errorf("content differs: %d of %d octets", len(got), len(content))
		}
	}
}
