package arc

import (
	"bytes"
	"fmt"
	"strings"
)

// Names of the fields of a set, in the order in which they are signed.
const (
	nameResults = "arc-authentication-results"
	nameMessage = "arc-message-signature"
	nameSeal    = "arc-seal"

	nameDKIM = "dkim-signature"
)

// set is the fields of one instance.
type set struct {
	instance               int
	results, message, seal *part
}

// part is one field of a set, with its tags; results have none but i.
type part struct {
	field
	tags tags
}

// collect reads the chain of a message without a look at any signature. The
// error says why its structure is not sound (RFC 8617 5.2, steps 1 to 3).
// Chain.highest and Chain.ended are right, whatever the error, as far as the
// fields can be read.
func collect(fields []field, chain *Chain) ([]set, error) {
	sets, any, wrong := gather(fields, chain)
	if !any {
		return nil, nil
	}
	if chain.highest > 0 && chain.highest <= maxSets {
		if last := sets[chain.highest-1].seal; last != nil && last.tags["cv"] == string(Fail) {
			chain.ended = true
			return nil, fmt.Errorf("set %d says that the chain was broken before", chain.highest)
		}
	}
	if wrong != nil {
		return nil, wrong
	}
	if chain.highest > maxSets {
		return nil, fmt.Errorf("more than %d sets", maxSets)
	}
	sets = sets[:chain.highest]
	for _, s := range sets {
		if err := s.check(); err != nil {
			return nil, fmt.Errorf("set %d: %w", s.instance, err)
		}
	}
	return sets, nil
}

// gather puts the fields where they belong. It goes on after the first thing that
// is wrong, so that the highest instance is known.
func gather(fields []field, chain *Chain) (sets []set, any bool, wrong error) {
	sets = make([]set, maxSets)
	for i := range sets {
		sets[i].instance = i + 1
	}
	for _, f := range fields {
		if f.name != nameResults && f.name != nameMessage && f.name != nameSeal {
			continue
		}
		any = true
		p, instance, err := readPart(f)
		if err == nil {
			chain.highest = max(chain.highest, instance)
			if instance <= maxSets {
				err = sets[instance-1].add(p)
			}
		}
		if err != nil && wrong == nil {
			wrong = fmt.Errorf("%s %w", f.name, err)
		}
	}
	return sets, any, wrong
}

func readPart(f field) (*part, int, error) {
	if f.name == nameResults {
		instance, err := resultsInstance(f.value)
		return &part{field: f}, instance, err
	}
	t, err := parseTags(f.value)
	if err != nil {
		return nil, 0, err
	}
	instance, err := parseInstance(t["i"])
	return &part{f, t}, instance, err
}

// resultsInstance reads the i= that results begin with.
func resultsInstance(value []byte) (int, error) {
	first, _, _ := bytes.Cut(value, []byte(";"))
	name, number, _ := strings.Cut(uncomment(string(first)), "=")
	if trim(name) != "i" {
		return 0, errInstance
	}
	return parseInstance(trim(number))
}

// uncomment drops comments (RFC 5322 3.2.2).
func uncomment(s string) string {
	var out strings.Builder
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && depth > 0:
			i++
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth == 0:
			out.WriteByte(c)
		}
	}
	return out.String()
}

func (s *set) add(p *part) error {
	place := &s.results
	switch p.name {
	case nameMessage:
		place = &s.message
	case nameSeal:
		place = &s.seal
	}
	if *place != nil {
		return fmt.Errorf("is there twice for set %d", s.instance)
	}
	*place = p
	return nil
}

// check checks one set of a chain that is expected to be whole.
func (s *set) check() error {
	switch {
	case s.results == nil:
		return fmt.Errorf("%s is missing", nameResults)
	case s.message == nil:
		return fmt.Errorf("%s is missing", nameMessage)
	case s.seal == nil:
		return fmt.Errorf("%s is missing", nameSeal)
	}
	want := Pass
	if s.instance == 1 {
		want = None
	}
	if cv := s.seal.tags["cv"]; cv != string(want) {
		return fmt.Errorf("cv=%s, want %s", clip(cv), want)
	}
	if _, has := s.seal.tags["h"]; has { // RFC 8617 4.1.3
		return fmt.Errorf("%s has h=", nameSeal)
	}
	if err := s.seal.tags.need("a", "b", "d", "s"); err != nil {
		return fmt.Errorf("%s %w", nameSeal, err)
	}
	if err := s.message.tags.need("a", "b", "bh", "d", "h", "s"); err != nil {
		return fmt.Errorf("%s %w", nameMessage, err)
	}
	return nil
}

// shown is the set for those who are told of it.
func (s *set) shown() Set {
	_, results, _ := strings.Cut(string(relaxedField("", s.results.value)), ";")
	word := func(tag string) string { return line(unspace(s.seal.tags[tag]), maxWord) }
	return Set{Instance: s.instance, Domain: word("d"), Selector: word("s"), Algorithm: word("a"), Results: line(trim(results), maxResults)}
}
