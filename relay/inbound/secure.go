package inbound

import (
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// What a session has to be secured with, by the rules of a domain (RFC 3207) or
// the wish of a sender (RFC 8689).

// requiresTLS reports whether an upstream gives REQUIRETLS on: its name is
// verified, and it offers the extension itself.
func (o *Options) requiresTLS(upstream string) bool {
	return o.RequireTLS != nil && o.RequireTLS(upstream)
}

// offersRequireTLS reports whether REQUIRETLS may be said at all: an upstream
// keeps the promise. Which one a message is for is only known at RCPT.
func (o *Options) offersRequireTLS() bool {
	for _, upstream := range o.Domains {
		if o.requiresTLS(upstream) {
			return true
		}
	}
	return false
}

// plaintext refuses a recipient whose domain takes mail over TLS only. RFC 3207
// 4 names the reply; a public server must not ask this of everybody, so it is
// the owner of a domain who decides.
func (s *session) plaintext(path smtp.Path) *refusal {
	domain, _ := smtp.ASCIIDomain(path.Domain)
	if s.server.options.Secured[domain] && s.client.peer().tls == "" {
		return refuse(reasonPlaintext, 530, smtp.StatusSecurity, "must issue a STARTTLS command first")
	}
	return nil
}

// unoffered refuses REQUIRETLS where it was not offered: RFC 5321 4.1.1.11. It
// is offered within TLS only (RFC 8689 2).
func (s *session) unoffered(params mailParams) *refusal {
	if params.RequireTLS && (s.client.peer().tls == "" || !s.server.options.offersRequireTLS()) {
		return refuse(reasonParameter, 555, smtp.StatusBadArguments, "REQUIRETLS is not offered")
	}
	return nil
}

// unkept refuses a recipient whose upstream would not keep what REQUIRETLS asks for.
func (s *session) unkept(tx *transaction, upstream string) *refusal {
	if tx.envelope.Params.RequireTLS && !s.server.options.requiresTLS(upstream) {
		return refuse(reasonRequireTLS, 550, smtp.StatusNoRequireTLS, "the primary of this recipient does not support REQUIRETLS")
	}
	return nil
}
