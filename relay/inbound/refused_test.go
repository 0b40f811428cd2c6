package inbound

import (
	"strings"
	"testing"
)

// TestRefusedContentIsLogged: with what its sender was told, which an operator is asked about.
func TestRefusedContentIsLogged(t *testing.T) {
	r := newRig(t, nil)
	w := r.dial("192.0.2.1").hello().envelope()
	w.transcript("C: DATA\nS: 354")
	w.say("a\nb\r\n.\r\n")
	w.want("550 5.6.11")
	w.close()
	w.rest()
	r.finish()
	for _, want := range []string{`"msg":"message.refused"`, `"reason":"bare_crlf"`, `"reply":"550 5.6.11 the message has a bare CR or LF`} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("no %s in %s", want, r.log)
		}
	}
}
