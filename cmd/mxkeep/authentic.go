package main

import (
	"fmt"
	"strings"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// authWords say what was found about who wrote a message; nothing if nobody looked.
func authWords(a *admin.Auth) (words []string) {
	if a == nil {
		return nil
	}
	for _, spf := range []struct {
		of string
		admin.SPF
	}{{"spf", a.MailFrom}, {"spf of helo", a.Hello}} {
		if spf.Result != "" {
			words = append(words, verdict(spf.of, spf.Result, spf.Domain, spf.Reason))
		}
	}
	for _, s := range a.DKIM {
		words = append(words, verdict("dkim", s.Result, s.Domain, s.Reason))
	}
	if a.Unchecked > 0 {
		words = append(words, fmt.Sprintf("%d more signatures, which were not looked at", a.Unchecked))
	}
	if d := a.DMARC; d.Result != "" {
		about := d.Domain
		if d.Policy != "" {
			about += ", p=" + d.Policy
		}
		words = append(words, verdict("dmarc", d.Result, about, d.Reason))
	}
	if c := a.ARC; c.Result != "" && (c.Result != "none" || c.Sealed) {
		words = append(words, verdict("arc", c.Result, strings.Join(c.Sealers, ", "), c.Reason))
	}
	if a.ARC.Sealed {
		words = append(words, "sealed by us")
	}
	if a.Claims > 0 {
		words = append(words, fmt.Sprintf("not delivered: %d Authentication-Results that claim to be of %s", a.Claims, a.By))
	}
	return words
}

// verdict says one result, and its reason if it is not a good one.
func verdict(method, result, about, reason string) string {
	words := method + " " + result
	if about != "" {
		words += " (" + about + ")"
	}
	if reason != "" && result != "pass" && result != "none" {
		words += ": " + reason
	}
	return words
}
