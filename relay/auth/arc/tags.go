package arc

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// tags are a tag list (RFC 6376 3.2): values without the white space around them.
type tags map[string]string

// parseTags reads a tag list. What is no tag list, or has a tag twice, is an error.
func parseTags(list []byte) (tags, error) {
	found := tags{}
	for spec := range bytes.SplitSeq(list, []byte(";")) {
		name, value, ok := strings.Cut(string(spec), "=")
		name, value = trim(name), trim(value)
		switch {
		case !ok && name == "": // behind the last semicolon
			continue
		case !ok || !isTagName(name):
			return nil, fmt.Errorf("no list of tags: %q", clip(trim(string(spec))))
		}
		if _, twice := found[name]; twice {
			return nil, fmt.Errorf("tag %s is there twice", clip(name))
		}
		found[name] = value
	}
	return found, nil
}

func trim(s string) string { return strings.Trim(s, " \t\r\n") }

// clip keeps reasons short, whatever the message says.
func clip(s string) string {
	if len(s) > 60 {
		return line(s, 60) + "..."
	}
	return line(s, 60)
}

// line is text on one line, of no more than n octets.
func line(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return strings.ToValidUTF8(s[:min(n, len(s))], "")
}

func isTagName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}

// need reports the first of the tags that is not there, or empty.
func (t tags) need(names ...string) error {
	for _, name := range names {
		if t[name] == "" {
			return fmt.Errorf("has no %s=", name)
		}
	}
	return nil
}

// form is the canonicalization of header and body (RFC 6376 3.5, c=).
func (t tags) form() string {
	form, ok := t["c"]
	if !ok {
		return "simple/simple"
	}
	header, body, _ := strings.Cut(strings.ToLower(form), "/")
	if body == "" {
		body = "simple"
	}
	return header + "/" + body
}

// bytes decodes base64 that may be folded.
func (t tags) bytes(name string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(unspace(t[name]))
	if err != nil || len(raw) == 0 {
		return nil, fmt.Errorf("%s= is no base64", name)
	}
	return raw, nil
}

// unspace removes all white space.
func unspace(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n", r) {
			return -1
		}
		return r
	}, s)
}

// list splits a list with colons.
func (t tags) list(name string) []string {
	var all []string
	for word := range strings.SplitSeq(t[name], ":") {
		all = append(all, strings.ToLower(trim(word)))
	}
	return all
}

// withoutSignature is the value of a field whose b= is empty (RFC 6376 3.5, b=).
func withoutSignature(value []byte) []byte {
	var out []byte
	for i, spec := range bytes.Split(value, []byte(";")) {
		if i > 0 {
			out = append(out, ';')
		}
		if name, _, ok := bytes.Cut(spec, []byte("=")); ok && trim(string(name)) == "b" {
			spec = append(name[:len(name):len(name)], '=')
		}
		out = append(out, spec...)
	}
	return out
}

// parseInstance reads an instance number (RFC 8617 4.2.1).
func parseInstance(s string) (int, error) {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' || i == 3 {
			return 0, errInstance
		}
		n = n*10 + int(s[i]-'0')
	}
	if n == 0 {
		return 0, errInstance
	}
	return n, nil
}

var errInstance = errors.New("has no instance number")
