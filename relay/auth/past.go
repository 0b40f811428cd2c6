package auth

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/auth/arc"
)

// past looks at a message as it stood at another time. The library holds the
// end of signatures against the clock only.
type past struct {
	at      time.Time // zero: as it stands now
	content []byte
}

// expired is the reason of a signature that has ended.
const expired = "signature has expired"

// lookBack keeps the content, if it is about another time.
func lookBack(at time.Time, content io.Reader) (past, io.Reader) {
	if at.IsZero() {
		return past{}, content
	}
	text, err := io.ReadAll(content)
	again := io.Reader(bytes.NewReader(text))
	if err != nil {
		again = io.MultiReader(again, failing{err})
	}
	return past{at, text}, again
}

// correct makes results right that were found for now.
func (p past) correct(ctx context.Context, resolver *budget, h head, all []Signature) []Signature {
	if p.at.IsZero() || h.over != "" {
		return all
	}
	var message *arc.Message
	for i, f := range h.named(signatureField)[:len(all)] {
		end, has := ending(f.value)
		s := &all[i]
		switch {
		case !has:
		case p.at.After(end) && s.Result != PermError:
			s.Result, s.Reason = PermError, expired
		case !p.at.After(end) && s.Result == PermError && strings.Contains(s.Reason, expired):
			if message == nil {
				message, _ = arc.Read(bytes.NewReader(p.content)) // memory can be read
			}
			p.verify(ctx, resolver, message, i, s)
		}
	}
	return all
}

// verify checks a signature that has ended since.
func (p past) verify(ctx context.Context, resolver *budget, message *arc.Message, i int, s *Signature) {
	keys := &keyring{ctx: ctx, resolver: resolver}
	switch err := message.Signature(ctx, arc.Options{Resolver: keys, Now: p.at}, i); {
	case err == nil:
		s.Result, s.Reason = Pass, ""
		s.check(keys)
	case errors.Is(err, arc.ErrLater):
		s.Result, s.Reason = TempError, short(err.Error())
	default:
		s.Result, s.Reason = Fail, short(err.Error())
	}
}

// LookupTXT looks up a key; the context is that of the keyring.
func (k *keyring) LookupTXT(_ context.Context, name string) ([]string, error) { return k.lookup(name) }

// ending reads x=.
func ending(value string) (time.Time, bool) {
	for tag := range strings.SplitSeq(value, ";") {
		if name, text, _ := strings.Cut(tag, "="); strings.TrimSpace(name) == "x" {
			seconds, err := strconv.ParseInt(unfolded(text), 10, 64)
			return time.Unix(seconds, 0), err == nil
		}
	}
	return time.Time{}, false
}
