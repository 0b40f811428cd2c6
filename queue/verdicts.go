package queue

import "time"

// Verdicts are what was found at intake about who wrote a message. The zero
// value says that nobody looked. Results are words of RFC 8601 2.7, such as
// pass, fail and temperror. Domains are A-labels in lower case; all other text
// comes from outside and may have any character that a line can have.
type Verdicts struct {
	By        string      `json:"by,omitempty"`        // our authserv-id (RFC 8601 2.5)
	MailFrom  SPF         `json:"mail_from,omitzero"`  // of the reverse-path; zero if that is null
	Hello     SPF         `json:"hello,omitzero"`      // of the name that the client gave
	DKIM      []Signature `json:"dkim,omitempty"`      // in the order of the fields
	Unchecked int         `json:"unchecked,omitempty"` // further signatures, which nobody looked at
	DMARC     DMARC       `json:"dmarc,omitzero"`
	ARC       ARC         `json:"arc,omitzero"`
	// ReversePath says that the reverse-path is authenticated: SPF passed for it,
	// or a signature of its organisation did. Who is not must not be written to.
	ReversePath bool          `json:"reverse_path,omitempty"`
	Author      bool          `json:"author,omitempty"`  // the same of the domain of From, whether it has a policy or not
	Unknown     bool          `json:"unknown,omitempty"` // something could not be found out, which might have authenticated the author
	Claims      int           `json:"claims,omitempty"`  // Authentication-Results fields of others that claim By: they do not leave with the message
	Took        time.Duration `json:"took,omitempty"`
}

// SPF is a result of RFC 7208.
type SPF struct {
	Result string `json:"result,omitempty"`
	Domain string `json:"domain,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Signature is a result of RFC 6376 for one signature.
type Signature struct {
	Result     string `json:"result,omitempty"`
	Domain     string `json:"domain,omitempty"`     // d=
	Selector   string `json:"selector,omitempty"`   // s=
	Algorithm  string `json:"algorithm,omitempty"`  // a=
	Identifier string `json:"identifier,omitempty"` // i=, if it was given
	Value      string `json:"value,omitempty"`      // how b= begins
	Reason     string `json:"reason,omitempty"`
}

// DMARC is a result of RFC 7489.
type DMARC struct {
	Result      string `json:"result,omitempty"`
	Domain      string `json:"domain,omitempty"`      // of From
	Record      string `json:"record,omitempty"`      // domain that the policy was found at
	Policy      string `json:"policy,omitempty"`      // that counts for Domain: none, quarantine or reject
	Percent     int    `json:"percent,omitempty"`     // pct, if it is not 100; -1 is 0
	Disposition string `json:"disposition,omitempty"` // what the policy asks for this message: none, quarantine or reject
	Reason      string `json:"reason,omitempty"`
}

// ARC is a result of RFC 8617: what relays before us say, and whether it holds.
type ARC struct {
	Result     string   `json:"result,omitempty"`
	OldestPass int      `json:"oldest_pass,omitempty"` // the set since which nothing was changed; 0: as the first one saw it
	Sealers    []string `json:"sealers,omitempty"`     // domains, as they wrote them, the oldest first
	Reason     string   `json:"reason,omitempty"`
	Sealed     bool     `json:"sealed,omitempty"` // we have put a set in front
}

// IsZero reports whether nobody looked.
func (v Verdicts) IsZero() bool { return v.By == "" }

// Authenticated reports whether the reverse-path is authenticated: only then may
// a notification be sent to it.
func (o Origin) Authenticated() bool { return o.Auth.ReversePath }
