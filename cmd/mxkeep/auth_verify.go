package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/auth"
	"github.com/mxkeep/mxkeep/relay/inbound"
	"github.com/spf13/cobra"
)

func newAuthVerify(a *app) *cobra.Command {
	r := &authentication{app: a}
	cmd := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Find out who wrote a message, as the relay does at intake",
		Long: "Says what SPF, each DKIM signature, DMARC and ARC make of a message in a file, or on standard input, that such a client " +
			"would hand over. Nothing is asked of the relay: only the DNS. The exit code is 0 whatever the verdicts are." +
			"\n\nA file whose lines end in LF alone is taken as if they ended in CRLF, as they do on the way: signatures are made of that. " +
			"With --now, signatures are held against another time, for a message of long ago; keys are those of today.",
		Example: "  mxkeep auth verify mail.eml --client 192.0.2.9 --from a@far.example\n" +
			"  mxkeep auth verify --client 192.0.2.9 --json < mail.eml",
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if r.client == "" {
				return usage("give --client, the address that the message comes from: SPF is about it")
			}
			r.id = cmp.Or(r.id, "localhost.localdomain")
			found, m, err := r.examine(cmd, args)
			if err != nil {
				return err
			}
			report := newVerification(r.file, found, m)
			return a.document(report, func(w io.Writer) { a.showVerification(w, report) })
		},
	}
	r.flags(cmd)
	cmd.Flags().StringVar(&r.id, "authserv-id", "", "our name in results (localhost.localdomain)")
	return cmd
}

// verification is what "auth verify" says.
type verification struct {
	Schema    string      `json:"schema"`
	File      string      `json:"file"`
	Converted bool        `json:"converted"` // its lines ended in LF alone
	Auth      *admin.Auth `json:"auth"`
	Sets      []arcSet    `json:"arc_sets"` // the oldest first; none of a chain whose structure is wrong
	Field     string      `json:"authentication_results"`
}

// arcSet is one set of a chain.
type arcSet struct {
	Instance  int    `json:"i"`
	Domain    string `json:"d"`
	Selector  string `json:"s"`
	Algorithm string `json:"a"`
	Results   string `json:"results"` // what that relay found out
}

func newVerification(file string, found auth.Examination, m message) verification {
	v := verification{Schema: "mxkeep.auth.verification/1", File: file, Converted: m.converted, Auth: admin.DescribeAuth(inbound.Stored(found)),
		Sets: []arcSet{}, Field: string(found.Field())}
	for _, s := range found.Chain.Sets {
		v.Sets = append(v.Sets, arcSet(s))
	}
	return v
}

func (a *app) showVerification(w io.Writer, v verification) {
	f := a.flow(w)
	row := func(label string, items ...string) {
		f.labelled(label, slices.DeleteFunc(items, func(item string) bool { return item == "" })...)
	}
	spf := func(of string, s admin.SPF) {
		if s.Result != "" {
			row("spf", s.Result+" of "+of, s.Domain, s.Reason)
		}
	}
	spf("the reverse-path", v.Auth.MailFrom)
	spf("the client", v.Auth.Hello)
	for _, s := range v.Auth.DKIM {
		row("dkim", s.Result, fmt.Sprintf("d=%s s=%s a=%s", s.Domain, s.Selector, s.Algorithm), s.Reason)
	}
	switch {
	case v.Auth.Unchecked > 0:
		row("dkim", fmt.Sprintf("%d more signatures, which were not looked at", v.Auth.Unchecked))
	case len(v.Auth.DKIM) == 0:
		row("dkim", "none")
	}
	d := v.Auth.DMARC
	policy := ""
	if d.Policy != "" {
		policy = fmt.Sprintf("p=%s of %s", d.Policy, d.Record)
	}
	row("dmarc", d.Result, d.Domain, policy, d.Reason)
	c := v.Auth.ARC
	oldest := ""
	switch {
	case c.Result == "pass" && c.OldestPass == 0:
		oldest = "as the first of them saw it"
	case c.Result == "pass":
		oldest = fmt.Sprintf("changed before set %d", c.OldestPass)
	}
	row("arc", c.Result, c.Reason, oldest)
	for _, s := range v.Sets {
		row("", fmt.Sprintf("i=%d d=%s s=%s a=%s", s.Instance, s.Domain, s.Selector, s.Algorithm))
		row("", "  "+s.Results)
	}
	fmt.Fprintln(w)
	row("author", yesNo(v.Auth.Author, "authenticated", "not authenticated"))
	row("sender", yesNo(v.Auth.ReversePath, "authenticated: may be notified", "not authenticated: is never notified"))
}

func yesNo(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}
