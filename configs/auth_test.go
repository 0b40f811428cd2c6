package configs

import "testing"

// TestAuthValues: what is wrong with the keys about who wrote a message, and
// what counts for a domain.
func TestAuthValues(t *testing.T) {
	for lines, want := range map[string]string{
		"auth: {verify: maybe}\n":                            `4:16 auth.verify: "maybe" is not one of yes, no; Take one of them`,
		"auth: {received_spf: 1}\n":                          `4:22 auth.received_spf: want one of no, yes, not "1"`,
		"auth: {authserv_id: \"a b\"}\n":                     `4:21 auth.authserv_id: "a b" is not a domain name`,
		"auth: {authserv_id: \"[192.0.2.1]\"}\n":             `4:21 auth.authserv_id: not a domain name`,
		"auth: {timeout: 31s}\n":                             `4:17 auth.timeout: 31s is out of range; Take 1ms to 30s`,
		"auth: {dmarc: enforced}\n":                          `4:15 auth.dmarc: "enforced" is not one of observe, enforce; Take enforce`,
		"auth: {held_when_unauthenticated: ''}\n":            `4:8 auth.held_when_unauthenticated: "" is not one of no, yes`,
		"auth: {dmark: observe}\n":                           `4:8 auth.dmark: there is no such key; Did you mean dmarc?`,
		"auth: {verify: no, authserv_id: MX.corp.example}\n": "",
	} {
		_, err := Parse("f.yaml", []byte(with(lines)))
		t.Run(lines, func(t *testing.T) {
			if want == "" {
				wantProblems(t, err)
				return
			}
			wantProblems(t, err, want)
		})
	}
	for _, test := range []struct {
		auth, domain string
		want         Policy
	}{
		{"{}", "auth: {}", Policy{DMARCObserve, No}},
		{"{}", "auth: {dmarc: enforce}", Policy{DMARCEnforce, No}},
		{"{dmarc: enforce, held_when_unauthenticated: yes}", "auth: {dmarc: ''}", Policy{DMARCEnforce, Yes}},
		{"{dmarc: enforce, held_when_unauthenticated: yes}", "auth: {dmarc: observe, held_when_unauthenticated: no}", Policy{DMARCObserve, No}},
	} {
		c, err := Parse("f.yaml", []byte("hostname: mx2.corp.example\nupstream: mx.corp.example\nauth: "+test.auth+"\ndomain: {name: corp.example, "+test.domain+"}\n"))
		if err != nil || c.PolicyOf(c.Domains[0]) != test.want {
			t.Errorf("%+v: %+v, %v", test, c.PolicyOf(c.Domains[0]), err)
		}
	}
	_, err := Parse("f.yaml", []byte("hostname: mx2.corp.example\nupstream: mx.corp.example\ndomain: {name: corp.example, auth: {dmarc: no}}\n"))
	wantProblems(t, err, `3:44 domain.auth.dmarc: "no" is not one of observe, enforce`)
}
