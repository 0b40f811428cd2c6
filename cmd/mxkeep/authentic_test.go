package main

import (
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/queue"
)

// TestVerdictsAreShown: by show and by trace, with the reasons of what is no pass.
func TestVerdictsAreShown(t *testing.T) {
	inScene(t, func(r *rig) {
		id := string(r.accept("news@supplier.example", "a.meyer@corp.example", func(a *queue.Acceptance) {
			a.Envelope.Origin.Auth = queue.Verdicts{By: "mx2.corp.example", MailFrom: queue.SPF{Result: "softfail", Domain: "supplier.example", Reason: "matched all"},
				Hello: queue.SPF{Result: "none", Domain: "mx1.supplier.example", Reason: "no DNS record found"},
				DKIM: []queue.Signature{{Result: "pass", Domain: "supplier.example", Selector: "s1", Algorithm: "rsa-sha256", Value: "AbCdEfGh"},
					{Result: "fail", Domain: "list.example", Selector: "x", Algorithm: "ed25519-sha256", Value: "IjKlMnOp", Reason: "body hash did not verify"}},
				ARC:       queue.ARC{Result: "pass", OldestPass: 2, Sealers: []string{"list.example", "forwarder.example"}, Sealed: true},
				Unchecked: 2, Claims: 1, ReversePath: true, Author: true,
				DMARC: queue.DMARC{Result: "pass", Domain: "supplier.example", Record: "supplier.example", Policy: "reject", Percent: -1, Reason: "dkim is aligned"}}
		}))
		for _, view := range []struct {
			name string
			args []string
		}{{"auth-show", []string{"queue", "show", id}}, {"auth-trace", []string{"trace", id}}} {
			for _, width := range []string{"80", "120"} {
				golden(t, view.name+"-"+width, r.terminal(map[string]int{"80": 80, "120": 120}[width], "", view.args...).out)
			}
		}
		golden(t, "auth-show-json", r.run("queue", "show", id, "--json").out)
		if got := r.run("trace", id, "--json").out; !strings.Contains(got, `"reverse_path_authenticated":true`) {
			t.Error(got)
		}
	})
}
