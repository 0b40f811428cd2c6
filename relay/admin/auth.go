package admin

import "github.com/mxkeep/mxkeep/queue"

// Auth is what was found at intake about who wrote a message.
type Auth struct {
	By        string      `json:"authserv_id"`
	MailFrom  SPF         `json:"spf_mail_from"` // of the reverse-path; without a result if that is null
	Hello     SPF         `json:"spf_helo"`
	DKIM      []Signature `json:"dkim"`
	Unchecked int         `json:"dkim_unchecked"` // further signatures
	DMARC     DMARC       `json:"dmarc"`
	ARC       ARC         `json:"arc"`

	ReversePath bool    `json:"reverse_path_authenticated"` // only then may a notification be sent to it
	Author      bool    `json:"author_authenticated"`
	Unknown     bool    `json:"author_unknown"` // what might have authenticated the author could not be found out
	Claims      int     `json:"forged_results"` // Authentication-Results fields that claim to be ours: they are not delivered
	TookSeconds float64 `json:"took_seconds"`
}

// SPF is a result of RFC 7208.
type SPF struct {
	Result string `json:"result"`
	Domain string `json:"domain"`
	Reason string `json:"reason"`
}

// Signature is a result of RFC 6376.
type Signature struct {
	Result     string `json:"result"`
	Domain     string `json:"d"`
	Selector   string `json:"s"`
	Algorithm  string `json:"a"`
	Identifier string `json:"i"`
	Value      string `json:"b"` // its first characters
	Reason     string `json:"reason"`
}

// DMARC is a result of RFC 7489.
type DMARC struct {
	Result      string `json:"result"`
	Domain      string `json:"header_from"`
	Record      string `json:"record"` // domain that the policy was found at
	Policy      string `json:"policy"`
	Percent     int    `json:"pct"`
	Disposition string `json:"disposition"`
	Reason      string `json:"reason"`
}

// ARC is a result of RFC 8617.
type ARC struct {
	Result     string   `json:"result"`
	OldestPass int      `json:"oldest_pass"`
	Sealers    []string `json:"sealers"` // domains, the oldest first
	Reason     string   `json:"reason"`
	Sealed     bool     `json:"sealed"` // by us
}

// DescribeAuth makes the wire form of verdicts; nil if nobody looked.
func DescribeAuth(v queue.Verdicts) *Auth {
	if v.IsZero() {
		return nil
	}
	d := v.DMARC
	a := &Auth{By: v.By, MailFrom: SPF(v.MailFrom), Hello: SPF(v.Hello), DKIM: []Signature{}, Unchecked: v.Unchecked,
		DMARC:       DMARC{Result: d.Result, Domain: d.Domain, Record: d.Record, Policy: d.Policy, Percent: d.Percent, Disposition: d.Disposition, Reason: d.Reason},
		ReversePath: v.ReversePath, Author: v.Author, Unknown: v.Unknown, Claims: v.Claims, TookSeconds: Seconds(v.Took)}
	switch {
	case d.Percent < 0:
		a.DMARC.Percent = 0
	case d.Percent == 0:
		a.DMARC.Percent = 100
	}
	a.ARC = ARC{v.ARC.Result, v.ARC.OldestPass, append([]string{}, v.ARC.Sealers...), v.ARC.Reason, v.ARC.Sealed}
	for _, s := range v.DKIM {
		a.DKIM = append(a.DKIM, Signature(s))
	}
	return a
}
