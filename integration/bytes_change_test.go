package integration

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/mxkeep/mxkeep/integration/primary"
)

// change is what a careless relay could do to a message. It gives nil if there
// is nothing in the message that it could be done to.
type change struct {
	name   string
	header bool // it is about the header; otherwise the body
	hidden bool // in the relaxed form it makes no difference
	do     func(random *rand.Rand, part []byte) []byte
}

// changes are applied to the header, without the signatures, or to the body.
var changes = []change{
	{"another letter in the body", false, false, anotherLetter},
	{"another letter in the header", true, false, anotherLetter},
	{"a dot lost at the start of a line", false, false, replaced("\r\n.", "\r\n")},
	{"a dot more at the start of a line", false, false, replaced("\r\n.", "\r\n..")},
	{"blanks lost at the end of a line", false, true, replaced(" \r\n", "\r\n")},
	{"a blank more at the end of a line", false, true, replaced("e\r\n", "e \r\n")},
	{"a tab for a blank", false, true, replaced(" ", "\t")},
	{"an empty line less", false, false, replaced("\r\n\r\n--", "\r\n--")},
	{"a field folded otherwise", true, true, replaced("\r\n\t", "\r\n ")},
	{"a field unfolded", true, true, replaced("\r\n\t", "\t")},
	{"a blank behind the colon", true, true, replaced("Date:", "Date: ")},
	{"a name in upper case", true, true, replaced("Subject:", "SUBJECT:")},
	{"a field less", true, false, replaced("MIME-Version: 1.0\r\n", "")},
	{"the eighth bit lost", false, false, sevenBit},
	{"the eighth bit of the header lost", true, false, sevenBit},
	{"NUL lost", false, false, replaced("\x00", "")},
	{"a line broken behind 990 octets", false, false, broken},
	{"text behind it", false, false, func(_ *rand.Rand, part []byte) []byte {
		return append(bytes.Clone(part), "--\r\nthis mail was scanned\r\n"...)
	}},
}

// anotherLetter changes one letter.
func anotherLetter(random *rand.Rand, part []byte) []byte {
	letter := func(r rune) bool { return r >= 'a' && r < 'z' }
	begin := random.IntN(len(part) + 1)
	at := bytes.IndexFunc(part[begin:], letter)
	if at < 0 {
		begin, at = 0, bytes.IndexFunc(part, letter)
	}
	if at < 0 {
		return nil
	}
	changed := bytes.Clone(part)
	changed[begin+at]++
	return changed
}

// replaced changes the first place that there is.
func replaced(from, to string) func(*rand.Rand, []byte) []byte {
	return func(_ *rand.Rand, part []byte) []byte {
		if !bytes.Contains(part, []byte(from)) {
			return nil
		}
		return bytes.Replace(part, []byte(from), []byte(to), 1)
	}
}

func sevenBit(_ *rand.Rand, part []byte) []byte {
	at := slices.IndexFunc(part, func(c byte) bool { return c > 0x7f && c&0x7f > ' ' })
	if at < 0 {
		return nil
	}
	changed := bytes.Clone(part)
	changed[at] &= 0x7f
	return changed
}

func broken(_ *rand.Rand, part []byte) []byte {
	for at := 0; at < len(part); {
		length := bytes.IndexByte(part[at:], '\r')
		if length > 990 {
			return slices.Insert(bytes.Clone(part), at+990, '\r', '\n')
		}
		if length < 0 {
			return nil
		}
		at += length + 2
	}
	return nil
}

// changed is a message to which something was done.
type changed struct {
	*specimen
	change
	arrived []byte
}

// spoil does something to each message that came one way, behind our field: of
// what can be done to it, what was done least so far.
func (j *journey) spoil(received []primary.Delivery, w way) (spoiled []changed) {
	times := map[string]int{}
	for _, d := range received {
		m := j.addressee(d)
		if m == nil || d.Recipients[0] != recipient(m, w) {
			continue
		}
		trace := bytes.TrimSuffix(d.Content, ended(m.content))
		random := rand.New(rand.NewPCG(corpusSeed, uint64(m.number)))
		var rarest changed
		for _, c := range changes {
			if whole := m.with(c, random); whole != nil && (rarest.specimen == nil || times[c.name] < times[rarest.name]) {
				rarest = changed{m, c, slices.Concat(trace, whole)}
			}
		}
		times[rarest.name]++
		spoiled = append(spoiled, rarest)
	}
	return spoiled
}

// with is the content with a change; nil if that is not possible.
func (s *specimen) with(c change, random *rand.Rand) []byte {
	signatures, header, body := s.divided()
	part := &body
	if c.header {
		part = &header
	}
	if *part == nil { // there is no empty line, so no body
		return nil
	}
	if *part = c.do(random, *part); *part == nil {
		return nil
	}
	return slices.Concat(signatures, header, body)
}

// divided are the signatures, the other fields, and the body, which begins with
// the CRLF of the empty line: so changes find where its first line begins.
func (s *specimen) divided() (signatures, header, body []byte) {
	rest := ended(s.content)
	begin := 0
	for range s.signatures {
		begin += bytes.Index(rest[begin:], []byte("\r\n")) + 2
		for rest[begin] == ' ' || rest[begin] == '\t' {
			begin += bytes.Index(rest[begin:], []byte("\r\n")) + 2
		}
	}
	signatures, rest = rest[:begin], rest[begin:]
	end := bytes.Index(rest, []byte("\r\n\r\n"))
	if end < 0 {
		return signatures, rest, nil
	}
	return signatures, rest[:end+2], rest[end+2:]
}

// sees reports whether a signature stands for what the change is about.
func (c changed) sees(s signature) bool {
	header, body, _ := strings.Cut(s.canonicalization, "/")
	form := body
	if c.header {
		form = header
	}
	return form == "simple" || !c.hidden
}

// checkChanges: whatever a careless relay does is found, by comparing and by both
// implementations with each signature that stands for it.
func (j *journey) checkChanges(received []primary.Delivery) {
	spoiled := j.spoil(received, ways[0])
	var contents [][]byte
	for _, c := range spoiled {
		contents = append(contents, c.arrived)
	}
	all, err := j.dkimpy.verifyByBoth(contents)
	if err != nil {
		j.t.Fatal(err)
	}
	found := map[string]int{}
	for i, c := range spoiled {
		v := all[i]
		if compare(c.arrived, ended(c.content)) == "" {
			j.t.Errorf("message %d with %s: it looks the same", c.number, c.name)
		}
		if v.err != nil || len(v.msgauth) != len(c.signatures) || len(v.dkimpy) != len(c.signatures) {
			j.t.Errorf("message %d with %s: %v", c.number, c.name, v)
			continue
		}
		for k, s := range c.signatures {
			seen := c.sees(s)
			if (v.msgauth[k] == passed) == seen || (v.dkimpy[k] == passed) == seen {
				j.t.Errorf("message %d (%s), signed %s, with %s: %v", c.number, c.shape, s.canonicalization, c.name, v)
			}
			if seen {
				found[c.name]++
			}
		}
	}
	for _, c := range changes {
		if found[c.name] < 2 {
			j.t.Errorf("%s was seen by %d signatures only", c.name, found[c.name])
		}
	}
	j.t.Logf("changes, by the signatures that saw them: %v", found)
}
