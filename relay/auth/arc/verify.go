package arc

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Verify checks the chain of the message (RFC 8617 5.2). Everything but the end
// of ctx and an answer of the DNS that may come later is a final result.
func (m *Message) Verify(ctx context.Context, o Options) Chain {
	chain := Chain{Status: None}
	if m.flaw != nil {
		return Chain{Status: Fail, Reason: m.flaw.Error(), ended: true}
	}
	sets, err := collect(m.fields, &chain)
	if err != nil {
		chain.Status, chain.Reason = Fail, err.Error()
		return chain
	}
	if len(sets) == 0 {
		return chain
	}
	for i := range sets {
		chain.Sets = append(chain.Sets, sets[i].shown())
	}
	v := &verifier{message: m, sets: sets, now: o.Now, keys: keyring{resolver: o.Resolver}}
	switch err := v.chain(ctx); {
	case errors.Is(err, ErrLater):
		chain.Status, chain.Reason = TempError, err.Error()
	case err != nil:
		chain.Status, chain.Reason = Fail, err.Error()
	default:
		chain.Status, chain.OldestPass = Pass, v.oldest(ctx)
	}
	return chain
}

// Signature checks one DKIM-Signature field, counted from the top and from 0, as
// a field of a set is checked: the two are made alike. It is for whoever wants to
// know how a message stood at another time than now; what else DKIM asks of such
// a field (v=, i=) it does not look at. An error that is ErrLater says nothing
// about the signature.
func (m *Message) Signature(ctx context.Context, o Options, n int) error {
	if m.flaw != nil {
		return m.flaw
	}
	for _, f := range m.fields {
		if f.name != nameDKIM {
			continue
		}
		if n--; n >= 0 {
			continue
		}
		t, err := parseTags(f.value)
		if err == nil {
			err = t.need("a", "b", "bh", "d", "h", "s")
		}
		if err != nil {
			return err
		}
		v := &verifier{message: m, now: o.Now, keys: keyring{resolver: o.Resolver}}
		return v.messageSignature(ctx, &part{f, t})
	}
	return errors.New("there is no such signature")
}

// verifier checks the signatures of a chain whose structure is sound.
type verifier struct {
	message *Message
	sets    []set
	now     time.Time
	keys    keyring
}

// chain checks the newest signature of the message and all seals. The older
// signatures come later, and only if all this is right: so nobody can have keys
// looked up that he has not signed for.
func (v *verifier) chain(ctx context.Context) error {
	newest := &v.sets[len(v.sets)-1]
	if err := v.messageSignature(ctx, newest.message); err != nil {
		return fmt.Errorf("%s of set %d: %w", nameMessage, newest.instance, err)
	}
	for i := range slices.Backward(v.sets) {
		if err := v.seal(ctx, i); err != nil {
			return fmt.Errorf("%s of set %d: %w", nameSeal, v.sets[i].instance, err)
		}
	}
	return nil
}

// oldest is the oldest-pass of a chain that passes. A key that cannot be had now
// ends the search: that the message was changed is then not ruled out.
func (v *verifier) oldest(ctx context.Context) int {
	for i := len(v.sets) - 2; i >= 0; i-- {
		if v.messageSignature(ctx, v.sets[i].message) != nil {
			return v.sets[i].instance + 1
		}
	}
	return 0
}

// seal checks one seal, which covers all sets up to its own (RFC 8617 5.1.1).
func (v *verifier) seal(ctx context.Context, at int) error {
	hash := sealHash(v.sets[:at], &v.sets[at])
	return v.signature(ctx, v.sets[at].seal.tags, hash)
}

// sealHash is what a seal signs: the sets before, and its own without b=.
func sealHash(before []set, own *set) []byte {
	hash := sha256.New()
	for _, s := range before {
		for _, p := range []*part{s.results, s.message, s.seal} {
			hash.Write(relaxedField(p.name, p.value))
			hash.Write(crlf)
		}
	}
	for _, p := range []*part{own.results, own.message} {
		hash.Write(relaxedField(p.name, p.value))
		hash.Write(crlf)
	}
	hash.Write(relaxedField(nameSeal, withoutSignature(own.seal.value)))
	return hash.Sum(nil)
}

// messageSignature checks a signature over the message.
func (v *verifier) messageSignature(ctx context.Context, s *part) error {
	t := s.tags
	form := t.form()
	switch form {
	case "relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple":
	default:
		return fmt.Errorf("c=%s is unknown", clip(t["c"]))
	}
	names := t.list("h")
	if slices.Contains(names, nameSeal) && s.name == nameMessage {
		return fmt.Errorf("h= has %s", nameSeal)
	}
	if _, has := t["l"]; has { // what is behind l octets may come from anybody
		return errors.New("l= leaves a part of the body unsigned")
	}
	if err := v.inTime(t); err != nil {
		return err
	}
	body := v.message.relaxed
	if strings.HasSuffix(form, "/simple") {
		body = v.message.simple
	}
	signed, err := t.bytes("bh")
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(signed, body[:]) == 0 {
		return errors.New("the body was changed")
	}
	return v.signature(ctx, t, messageHash(v.message.fields, names, s, strings.HasPrefix(form, "relaxed/")))
}

// inTime checks x=, the end of a signature.
func (v *verifier) inTime(t tags) error {
	x, ok := t["x"]
	if !ok {
		return nil
	}
	end, err := strconv.ParseUint(x, 10, 62)
	if err != nil {
		return errors.New("x= is no time")
	}
	if v.now.Unix() > int64(end) {
		return errors.New("the signature has ended")
	}
	return nil
}

// messageHash is what the signature of a message signs: of each name the lowest
// field that was not taken yet (RFC 6376 5.4.2), and its own field without b=.
func messageHash(fields []field, names []string, own *part, relaxed bool) []byte {
	places := map[string][]int{}
	for i, f := range fields {
		if f.name != "" {
			places[f.name] = append(places[f.name], i)
		}
	}
	hash := sha256.New()
	for _, name := range names {
		left := places[name]
		if len(left) == 0 {
			continue
		}
		f := fields[left[len(left)-1]]
		places[name] = left[:len(left)-1]
		if relaxed {
			hash.Write(relaxedField(f.name, f.value))
			hash.Write(crlf)
		} else {
			hash.Write(f.raw)
		}
	}
	if relaxed {
		hash.Write(relaxedField(own.name, withoutSignature(own.value)))
	} else {
		name := own.raw[:len(own.raw)-len(own.value)]
		hash.Write(name)
		hash.Write(trimEnd(withoutSignature(own.value)))
	}
	return hash.Sum(nil)
}

// trimEnd drops the last line end.
func trimEnd(value []byte) []byte {
	if n := len(value); n >= 2 && value[n-2] == '\r' && value[n-1] == '\n' {
		return value[:n-2]
	}
	return value
}

// signature checks b= with the key that d= and s= name.
func (v *verifier) signature(ctx context.Context, t tags, hash []byte) error {
	algorithm := strings.ToLower(t["a"])
	if algorithm != RSA && algorithm != Ed25519 {
		return fmt.Errorf("a=%s is not accepted", clip(t["a"]))
	}
	signature, err := t.bytes("b")
	if err != nil {
		return err
	}
	keys, err := v.keys.find(ctx, t["d"], t["s"])
	if err != nil {
		return err
	}
	var why error
	for _, key := range keys {
		switch {
		case key.err != nil:
			why = key.err
		case key.algorithm != algorithm:
			why = fmt.Errorf("the key is not for %s", algorithm)
		case key.verify(hash, signature):
			return nil
		default:
			return errors.New("what was signed was changed, or signed with another key")
		}
	}
	return why
}
