package configs

import (
	"strings"
	"testing"
)

// TestFrontValues: what is wrong with the keys of the front door.
func TestFrontValues(t *testing.T) {
	const acme = "https://acme.example/directory, email: a@corp.example"
	for lines, want := range map[string]string{
		"user: 'a b'\n":    `4:7 user: "a b" is not the name of a user; mxkeep`,
		"user: -x\n":       `4:7 user: not the name of a user`,
		"user: 5\n":        `4:7 user: want the name of a user, not "5"`,
		"user: j\u00f6\n":  `4:7 user: not the name of a user`,
		"user: _mx.keep\n": "",
		"inbound: {acme: {directory: \"http://acme.example\", email: a@corp.example}}\n": `4:29 inbound.acme.directory: "http://acme.example" is not a secure URL; https://`,
		"inbound: {acme: {directory: 'https://', email: a@corp.example}}\n":              `4:29 inbound.acme.directory: not a secure URL`,
		"inbound: {acme: {directory: \"https://acme.example\"}}\n":                       `4:11 inbound.acme.email: missing; email:`,
		"inbound: {acme: {email: a@corp.example}}\n":                                     `4:11 inbound.acme.directory: missing; take acme out`,
		"inbound: {acme: {email: nobody}}\n":                                             "4:11 inbound.acme.directory: missing\n4:25 inbound.acme.email: \"nobody\" is not an address",
		"inbound: {acme: {ca: c}}\n":                                                     `4:11 inbound.acme.directory: missing`,
		"inbound: {acme: {challenge: dns-01}}\n":                                         `4:29 inbound.acme.challenge: "dns-01" is not one of http-01, tls-alpn-01; Take one of them`,
		"inbound: {acme: {directory: " + acme + ", listen: '80'}}\n":                     `4:92 inbound.acme.listen: "80" is not an address`,
		"inbound: {listen: [\":80\"], acme: {directory: " + acme + "}}\n":                `4:28 inbound.acme.listen: something else is to listen at :80`,
		"inbound: {acme: {directory: " + acme + ", challenge: tls-alpn-01}}\n":           "",
		"inbound: {acme: {directory: " + acme + "}, certificate: c, key: k}\n":           `4:29 inbound.acme.directory: a certificate already; Take out`,
	} {
		_, err := Parse("f.yaml", []byte(with(lines)))
		t.Run(lines, func(t *testing.T) {
			if want == "" {
				wantProblems(t, err)
				return
			}
			wantProblems(t, err, strings.Split(want, "\n")...)
		})
	}
	for domain, want := range map[string]string{
		"{name: corp.example, tls: maybe}":    `2:35 domain.tls: "maybe" is not one of required, opportunistic; one of them`,
		"{name: corp.example, tls: requird}":  `2:35 domain.tls: not one of required, opportunistic; Take required`,
		"{name: corp.example, tls: yes}":      `2:35 domain.tls: not one of`,
		"{name: corp.example, tls: required}": "",
	} {
		c, err := Parse("f.yaml", []byte("hostname: mx2.corp.example\ndomain: "+domain+"\nupstream: mx.corp.example\n"))
		if want == "" {
			wantProblems(t, err)
			if c.Domains[0].TLS != TLSRequired {
				t.Errorf("domain %+v", c.Domains[0])
			}
			continue
		}
		wantProblems(t, err, want)
	}
}

func TestACMEAddress(t *testing.T) {
	for want, a := range map[string]ACME{":80": {Challenge: ChallengeHTTP}, ":443": {Challenge: ChallengeTLS}, "192.0.2.7:8080": {Challenge: ChallengeTLS, Listen: "192.0.2.7:8080"}} {
		if got := a.Address(); got != want {
			t.Errorf("%+v: %s", a, got)
		}
	}
}
