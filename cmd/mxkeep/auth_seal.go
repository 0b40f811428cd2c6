package main

import (
	"bytes"
	"io"
	"strings"

	"github.com/mxkeep/mxkeep/relay/auth"
	"github.com/mxkeep/mxkeep/relay/auth/arc"
	"github.com/spf13/cobra"
)

// sealing is one run of "auth seal".
type sealing struct {
	authentication
	key, selector, domain string
	headers               []string
}

func newAuthSeal(a *app) *cobra.Command {
	r := &sealing{authentication: authentication{app: a}}
	cmd := &cobra.Command{
		Use:   "seal [FILE]",
		Short: "Print a message with an ARC set in front, as the relay does",
		Long: "Verifies a message in a file, or on standard input, and prints it behind an ARC set (RFC 8617) that says what was found " +
			"out. Without --client nothing is said of SPF, and of DMARC only a pass. The lines that are printed end in CRLF; nothing of the message is changed " +
			"besides. On a terminal nothing in it is left unescaped." +
			"\n\nA chain that is broken gets a set that says so, and ends there. One that had ended already, has 50 sets, or whose keys cannot be " +
			"looked up now gets none: then nothing is printed, and the exit code is 1.",
		Example: "  mxkeep auth seal mail.eml --key arc.pem --selector arc1 \\\n" +
			"      --domain corp.example --authserv-id mx2.corp.example",
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error { return r.run(cmd, args) },
	}
	r.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&r.key, "key", "", "the file of mxkeep auth keygen")
	f.StringVar(&r.selector, "selector", "", "the name of its public half in the DNS")
	f.StringVar(&r.domain, "domain", "", "the domain that seals")
	f.StringVar(&r.id, "authserv-id", "", "our name in the results")
	f.StringSliceVar(&r.headers, "headers", nil, "fields that are sealed, with commas (the usual)")
	return cmd
}

// sealed is the document of "auth seal".
type sealed struct {
	Schema    string `json:"schema"`
	File      string `json:"file"`
	Converted bool   `json:"converted"`
	Set       string `json:"set"` // three header fields, to be put in front of the message
}

func (r *sealing) run(cmd *cobra.Command, args []string) error {
	for _, need := range []struct{ flag, value string }{{"--key", r.key}, {"--selector", r.selector}, {"--domain", r.domain}, {"--authserv-id", r.id}} {
		if need.value == "" {
			return usage("give %s", need.flag)
		}
	}
	key, err := arc.ReadKey(r.key)
	if err != nil {
		return failure{"bad_key", err.Error()}
	}
	sealer, err := arc.NewSealer(key, r.domain, r.selector, r.headers)
	if err != nil {
		return usage("%v", err)
	}
	found, m, err := r.examine(cmd, args)
	if err != nil {
		return err
	}
	if r.client == "" { // SPF would be about nobody, and might be what DMARC lacks
		found.MailFrom.Result, found.Hello.Result = "", ""
		if found.DMARC.Result != auth.Pass {
			found.DMARC.Result = ""
		}
	}
	if r.at.IsZero() {
		r.at = r.app.now
	}
	set, err := found.Seal(sealer, nil, r.at)
	if err != nil {
		return failure{"not_sealed", strings.TrimPrefix(err.Error(), arc.ErrUnsealed.Error()+": ")}
	}
	document := sealed{"mxkeep.auth.seal/1", r.file, m.converted, string(set)}
	return r.app.document(document, func(w io.Writer) {
		whole := io.MultiReader(bytes.NewReader(set), bytes.NewReader(m.content))
		if r.app.screen.out || !r.app.exact() {
			_ = copyClean(w, whole)
			return
		}
		_, _ = io.Copy(w, whole) // whether it could be written is found out at its end
	})
}
