package primary

import (
	"strings"
	"testing"
)

// TestLacks: what is not offered is not understood.
func TestLacks(t *testing.T) {
	s := start(t, Options{})
	if err := s.Play(Scenario{Name: "plain", Lacks: "8BITMIME SMTPUTF8 DSN SIZE"}); err != nil {
		t.Fatal(err)
	}
	c := dial(t, s, 0)
	c.want("220 ")
	_, offered, _ := strings.Cut(c.say("EHLO client.example", "250 "), "\n")
	if offered != "PIPELINING\nENHANCEDSTATUSCODES\nSTARTTLS\nBINARYMIME\nCHUNKING" {
		t.Errorf("offered: %q", offered)
	}
	for _, parameter := range []string{"SIZE=1", "BODY=8BITMIME", "BODY=7BIT", "SMTPUTF8", "RET=FULL", "ENVID=x"} {
		c.say("MAIL FROM:<a@b.example> "+parameter, "501 5.5.4 Unrecognized parameter")
	}
	c.deliver("\xff\r\n", "250 2.6.0")
}
