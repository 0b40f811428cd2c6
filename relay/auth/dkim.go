package auth

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"unicode"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

const (
	signatureField = "DKIM-Signature"
	maxSignatures  = 8
	maxSigned      = 200     // names in h=: the library compares each with every field
	maxKey         = 2 << 10 // of a key record
	valueStart     = 8       // characters of b= (RFC 6008 4)
	maxWord        = 255     // of a tag of a signature that is kept
)

// dkim verifies the signatures of a message, which must have been read to its body.
func (v *Verifier) dkim(ctx context.Context, resolver *budget, h head, body io.Reader) (all []Signature, unchecked int) {
	fields := h.named(signatureField)
	if len(fields) > maxSignatures {
		fields, unchecked = fields[:maxSignatures], len(fields)-maxSignatures
	}
	signed := 0
	for _, f := range fields {
		s, names := readSignature(f.value)
		all = append(all, s)
		signed = max(signed, names)
	}
	switch {
	case len(all) == 0:
		return nil, 0
	case h.err != nil:
		return failed(all, TempError, "the header could not be read"), unchecked
	case h.over != "":
		return failed(all, PermError, h.over), unchecked
	case signed > maxSigned: // then none, for the library takes all or nothing
		return failed(all, PermError, "a signature has more than 200 names in h="), unchecked
	}
	keys := &keyring{ctx: ctx, resolver: resolver}
	content := &bounded{ctx: ctx, from: io.MultiReader(strings.NewReader(h.ended()), body)}
	var results []*dkim.Verification
	var err error
	if fault := v.guarded("dkim", func() {
		results, err = dkim.VerifyWithOptions(content, &dkim.VerifyOptions{LookupTXT: keys.lookup, MaxVerifications: maxSignatures})
	}); fault != nil {
		return failed(all, TempError, fault.Error()), unchecked
	}
	switch {
	case content.cut != nil:
		return failed(all, TempError, "the content could not be read in time: "+content.cut.Error()), unchecked
	case err != nil && !errors.Is(err, dkim.ErrTooManySignatures) || len(results) != len(all):
		return failed(all, PermError, "the message cannot be read"), unchecked
	}
	for i, result := range results {
		all[i].Result, all[i].Reason = dkimResult(result.Err)
		if all[i].Result == Fail && misread(fields[i].value) {
			all[i].Result, all[i].Reason = TempError, "it cannot be checked here: a tag has b= in its value"
		}
		all[i].check(keys)
	}
	return all, unchecked
}

// misread reports whether the library reads a signature wrongly: for the hash it
// empties what looks like b= in every tag, in a copied field of z= for example.
// Then "fail" would be a word about a message that may be genuine.
func misread(signature string) bool {
	found := 0
	for rest := signature; ; {
		_, after, is := strings.Cut(rest, "b")
		if !is {
			return found > 1
		}
		if rest = after; strings.HasPrefix(strings.TrimLeft(after, " \t\r\n"), "=") {
			found++
		}
	}
}

func failed(all []Signature, result, reason string) []Signature {
	for i := range all {
		all[i].Result, all[i].Reason = result, reason
	}
	return all
}

// dkimResult is the word for an error of the library.
func dkimResult(err error) (result, reason string) {
	switch {
	case err == nil:
		return Pass, ""
	case dkim.IsTempFail(err):
		result = TempError
	case dkim.IsPermFail(err):
		result = PermError
	default:
		result = Fail
	}
	return result, short(strings.TrimPrefix(err.Error(), "dkim: "))
}

// check looks at what the library leaves out.
func (s *Signature) check(keys *keyring) {
	if s.Result != Pass {
		return
	}
	if s.Domain == "" { // a pass without a name of whom proves nothing
		s.Result, s.Reason = PermError, "d= is no domain name"
		return
	}
	_, of, _ := strings.Cut(s.Identifier, "@")
	if keys.strict(s.Selector, s.Domain) && s.Identifier != "" && !strings.EqualFold(of, s.Domain) { // RFC 6376 3.6.1, t=s
		s.Result, s.Reason = PermError, "the key is not for subdomains"
	}
}

// readSignature reads what is said of a signature. names is the number of
// names in h=. What is not there is "": the library says what is wrong.
func readSignature(value string) (s Signature, names int) {
	for tag := range strings.SplitSeq(value, ";") {
		name, text, _ := strings.Cut(tag, "=")
		text = unfolded(text)
		switch strings.TrimSpace(name) {
		case "d":
			if domain, err := smtp.ASCIIDomain(text); err == nil && domain[0] != '[' {
				s.Domain = domain
			}
		case "s":
			s.Selector = word(text)
		case "a":
			s.Algorithm = word(text)
		case "i":
			s.Identifier = word(text)
		case "b":
			s.Value = word(text[:min(len(text), valueStart)])
		case "h":
			names = strings.Count(text, ":") + 1
		}
	}
	return s, names
}

// unfolded takes out all white space, as RFC 6376 lets it stand anywhere in these tags.
func unfolded(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) {
			return -1
		}
		return c
	}, s)
}

// word bounds a tag.
func word(s string) string {
	if len(s) > maxWord {
		s = s[:maxWord]
	}
	return strings.ToValidUTF8(s, "?")
}

// keyring finds keys and remembers which are not for subdomains. The library
// asks from several goroutines.
type keyring struct {
	ctx      context.Context // of one verification: the library hands none on
	resolver *budget

	mu       sync.Mutex
	onlySame map[string]bool
}

func (k *keyring) lookup(name string) ([]string, error) {
	texts, err := k.resolver.LookupTXT(k.ctx, name)
	if err != nil {
		return nil, err
	}
	for _, text := range texts {
		if len(text) > maxKey {
			return nil, &net.DNSError{Err: "the key is too long", Name: short(name)}
		}
	}
	if len(texts) == 1 && hasFlag(texts[0], "s") {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.onlySame == nil {
			k.onlySame = map[string]bool{}
		}
		k.onlySame[strings.ToLower(name)] = true
	}
	return texts, nil
}

func (k *keyring) strict(selector, domain string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.onlySame[strings.ToLower(selector+"._domainkey."+domain)]
}

// hasFlag reports whether a key has a flag in t=.
func hasFlag(key, flag string) bool {
	for tag := range strings.SplitSeq(key, ";") {
		if name, value, _ := strings.Cut(tag, "="); strings.TrimSpace(name) == "t" {
			for one := range strings.SplitSeq(value, ":") {
				if strings.TrimSpace(one) == flag {
					return true
				}
			}
		}
	}
	return false
}

// bounded reads until the context ends or reading fails, and calls both the end:
// the library leaves goroutines behind when it meets an error.
type bounded struct {
	ctx  context.Context
	from io.Reader
	cut  error // why it is not the whole content
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.cut = b.ctx.Err(); b.cut != nil {
		return 0, io.EOF
	}
	n, err := b.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.cut, err = err, io.EOF
	}
	return n, err
}
