package auth

import (
	"testing"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
)

func TestVerify(t *testing.T) {
	server := dnstest.New(t, `sender.example. 60 IN TXT "v=spf1 ip4:192.0.2.0/24 -all"`, `mail.sender.example. 60 IN TXT "v=spf1 a -all"`,
		"mail.sender.example. 60 IN A 192.0.2.25", `_dmarc.sender.example. 60 IN TXT "v=DMARC1; p=reject"`)
	publish(t, server, "s1", "sender.example", rsaKey(), "")
	message := sign(t, plainMessage, dkim.SignOptions{Domain: "sender.example", Selector: "s1"})
	v := verify(t, server, from("alice@sender.example"), message)
	t.Logf("%+v\n%s%s", v, v.Field(), v.ReceivedSPF(from("alice@sender.example")))
	t.Log(server.Asked())
}
