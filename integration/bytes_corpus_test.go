package integration

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// specimen is a message of the corpus.
type specimen struct {
	number     int
	shape      string      // what it is, for people
	content    []byte      // as it has to arrive, but for a last CRLF
	sent       []byte      // as it comes: the content, and perhaps a field that pretends to be ours
	utf8       bool        // its header needs SMTPUTF8
	body       string      // BODY of MAIL; "" says nothing
	signatures []signature // its signatures, from the top
}

// What is sent. Another seed gives other messages of the same kinds.
const (
	corpusSeed = 20261126
	corpusSize = 500
)

// corpus makes messages, always the same ones of a seed. They have the shapes
// of real ones, and what careless handling would change.
func corpus(seed uint64, size int) (all []*specimen) {
	for i := range size {
		a := &author{random: rand.New(rand.NewPCG(seed, uint64(i))), number: i}
		all = append(all, a.write())
	}
	return all
}

// author writes one message.
type author struct {
	random *rand.Rand
	number int
}

// write goes round all bodies, all habits of headers and all endings, at
// different speeds, so that each meets each.
func (a *author) write() *specimen {
	body := bodies[a.number%len(bodies)]
	header := habits[(a.number+a.number/len(bodies))%len(habits)]
	ending := endings[(a.number+a.number/len(habits))%len(endings)]
	fields, text := body.make(a)
	fields = header.change(a, append(a.header(), fields...))
	s := &specimen{number: a.number, shape: body.name + ", " + header.name + ", " + ending.name, utf8: header.utf8}
	if text != "" {
		text = ending.change(text)
	}
	switch content := strings.Join(fields, "") + "\r\n" + text; {
	case text == "" && a.random.IntN(3) > 0:
		s.shape += ", no empty line"
		s.content = []byte(strings.TrimSuffix(content, "\r\n"))
		if a.random.IntN(2) == 0 {
			s.content = bytes.TrimSuffix(s.content, []byte("\r\n"))
		}
	default:
		s.content = []byte(content)
	}
	s.body = a.pick("", "8BITMIME") // 8-bit content comes unannounced, too
	if !has8Bit(s.content) {
		s.body = a.pick("", "7BIT", "8BITMIME")
	}
	s.signatures = a.signatures()
	return s
}

// signatures chooses signatures: the algorithms and ways of canonicalization in turn.
func (a *author) signatures() []signature {
	ways := []string{"simple/simple", "relaxed/relaxed", "relaxed/simple", "simple/relaxed"}
	of := func(selector string, n int) signature {
		return signature{selector, ways[n%len(ways)], a.random.IntN(2) == 0}
	}
	switch a.number % 3 {
	case 0:
		return []signature{of("rsa", a.number)}
	case 1:
		return []signature{of("ed25519", a.number)}
	}
	return []signature{of("ed25519", a.number), of("rsa", a.number/3)}
}

// pretences are fields that claim to be the results of mx2.corp.example, and are not.
var pretences = []string{
	"Authentication-Results: mx2.corp.example; dkim=pass header.d=bank.example\r\n",
	"authentication-results:MX2.Corp.Example.;\r\n\tspf=pass\r\n\t smtp.mailfrom=bank.example\r\n",
	"Authentication-Results:\r\n (a comment; mx.other.example)\r\n \"mx2.corp.example\"; none\r\n",
	"AUTHENTICATION-RESULTS : mx2.corp.example/1; dmarc=pass\r\n",
}

// pretend puts a pretence before some field of every fourth message, but not if
// it would be taken for a field of that name that is signed.
func (s *specimen) pretend() {
	s.sent = s.content
	if s.number%4 != 0 || bytes.Contains(s.content, []byte("\nAuthentication-Results:")) {
		return
	}
	random := rand.New(rand.NewPCG(corpusSeed, uint64(s.number)))
	begins := []int{0}
	for i := range bytes.Index(append(bytes.Clone(s.content), "\r\n\r\n"...), []byte("\r\n\r\n")) {
		if s.content[i] == '\n' && s.content[i+1] != ' ' && s.content[i+1] != '\t' {
			begins = append(begins, i+1)
		}
	}
	at := begins[random.IntN(len(begins))]
	s.sent = slices.Insert(bytes.Clone(s.content), at, []byte(pretences[random.IntN(len(pretences))])...)
}

// header is that of a letter between two people.
func (a *author) header() []string {
	return []string{
		fmt.Sprintf("Received: from outbound.sender.example ([192.0.2.%d])\r\n\tby relay.sender.example with ESMTPS id %08x;\r\n\t%s\r\n", 1+a.number%250, a.random.Uint32(), a.date()),
		"From: " + a.words(1) + " <" + a.words(1) + "@sender.example>\r\n",
		"To: " + a.words(2) + " <reader@corp.example>\r\n",
		"Subject: " + a.words(3+a.random.IntN(6)) + "\r\n",
		"Date: " + a.date() + "\r\n",
		fmt.Sprintf("Message-ID: <%x.%d@sender.example>\r\n", a.random.Uint64(), a.number),
		"MIME-Version: 1.0\r\n",
	}
}

func (a *author) date() string {
	return fmt.Sprintf("%s, %d Oct 2026 %02d:%02d:%02d +0200", a.pick("Mon", "Tue", "Fri"), 1+a.random.IntN(28), a.random.IntN(24), a.random.IntN(60), a.random.IntN(60))
}

// vocabulary has words of different lengths.
var vocabulary = strings.Fields(`a the minutes of meeting order invoice please find attached regards harbour
	from quarterly report we will ship on Thursday unless weather changes figures below are preliminary`)

func (a *author) words(n int) string {
	var all []string
	for range n {
		all = append(all, a.pick(vocabulary...))
	}
	return strings.Join(all, " ")
}

func (a *author) pick(of ...string) string { return of[a.random.IntN(len(of))] }

// prose is some lines of text, a few of them empty.
func (a *author) prose(lines int) string {
	var b strings.Builder
	for range lines {
		if a.random.IntN(6) > 0 {
			b.WriteString(a.words(1 + a.random.IntN(12)))
		}
		b.WriteString("\r\n")
	}
	return b.String() + a.words(3) + "\r\n"
}

// octets is a file of that size in base64.
func (a *author) octets(size int) string {
	file := make([]byte, size)
	for i := range file {
		file[i] = byte(a.random.Uint32())
	}
	text := base64.StdEncoding.EncodeToString(file)
	var b strings.Builder
	for ; len(text) > 76; text = text[76:] {
		b.WriteString(text[:76] + "\r\n")
	}
	return b.String() + text + "\r\n"
}

// some repeats what make makes.
func (a *author) some(times int, make func() string) string {
	var b strings.Builder
	for range times {
		b.WriteString(make())
	}
	return b.String()
}

// endings change how a body ends. One without its last CRLF has no blank there,
// which dkimpy would keep in the relaxed form (RFC 6376 3.4.4 drops it).
var endings = []struct {
	name   string
	change func(string) string
}{
	{"ended", func(s string) string { return s }},
	{"no last CRLF", func(s string) string { return strings.TrimRight(s, "\r\n \t") }},
	{"empty lines behind", func(s string) string { return s + "\r\n\r\n\r\n" }},
	{"blanks behind", func(s string) string { return strings.TrimSuffix(s, "\r\n") + " \t  \r\n" }},
	{"lines of blanks behind", func(s string) string { return s + " \r\n\t\r\n  \r\n" }},
	{"a dot behind", func(s string) string { return s + ".\r\n" }},
	{"a dot without CRLF behind", func(s string) string { return s + "." }},
	{"empty lines and a dot behind", func(s string) string { return s + "\r\n\r\n.\r\n\r\n" }},
}

// has8Bit reports whether there is an octet above ASCII.
func has8Bit(content []byte) bool {
	return bytes.ContainsFunc(content, func(r rune) bool { return r > '~'+1 })
}

// trait is what messages of the corpus must have, so many of them.
type trait struct {
	name    string
	atLeast int
	in      func(octets string) bool // of the whole content, a rune for each octet
}

// traits are what careless handling would change, or stumble over.
func traits() []trait {
	return []trait{
		{"no last CRLF", 80, func(s string) bool { return !strings.HasSuffix(s, "\r\n") }},
		{"a dot at the end without CRLF", 20, func(s string) bool { return strings.HasSuffix(s, "\n.") }},
		{"a header that does not end", 3, func(s string) bool { return !strings.Contains(s, "\r\n\r\n") && !strings.HasSuffix(s, "\r\n") }},
		{"empty lines at the end", 50, func(s string) bool { return strings.HasSuffix(s, "\r\n\r\n\r\n") }},
		{"no body", 5, func(s string) bool { return strings.Index(s, "\r\n\r\n") == len(s)-4 }},
		{"not even an empty line", 10, func(s string) bool { return !strings.Contains(s, "\r\n\r\n") }},
		{"nothing but empty lines", 5, func(s string) bool {
			return strings.TrimRight(s, "\r\n") == header(s) && strings.HasSuffix(s, "\r\n\r\n\r\n")
		}},
		{"blanks at line ends", 100, contains(" \r\n", "\t\r\n")},
		{"a dot that begins a line", 50, contains("\n.a", "\n.b", "\n.d", "\n.Q", "\n.{")},
		{"a line of one dot", 80, contains("\n.\r\n")},
		{"two dots", 50, contains("\n..")},
		{"a line of 998 octets", 10, contains("\n" + strings.Repeat("x", 997) + "y\r\n")},
		{"a longer line", 40, longLine(999)},
		{"a line of more than 60,000", 5, longLine(60_000)},
		{"more than a chunk of the store", 30, func(s string) bool { return utf8.RuneCountInString(s) > 64<<10 }},
		{"NUL", 40, contains("\x00")},
		{"control characters", 40, contains("\a")},
		{"octets above ASCII", 100, above('\x7f')},
		{"octets that are not UTF-8", 40, contains("\u00ff")},
		{"octets above ASCII in the header", 30, inHeader(above('\x7f'))},
		{"no blank behind the colon", 20, inHeader(contains("\nDate:F", "\nDate:T", "\nDate:M"))},
		{"an empty field", 20, inHeader(contains("\nX-Empty:\r\nX-Blank: \r\n"))},
		{"names in odd case", 20, inHeader(contains("\nsUBJECT:", "\nSUBJECT:", "\nsubject:"))},
		{"a tab that folds", 100, inHeader(contains("\r\n\t"))},
		{"a line of blanks in a field", 15, inHeader(contains("\r\n \r\n\t"))},
		{"the same field again", 20, inHeader(func(s string) bool { return strings.Count(s, "\nKeywords: ") == 2 })},
		{"a group", 15, inHeader(contains(": undisclosed-recipients:;"))},
		{"encoded words", 20, inHeader(contains("=?utf-8?B?"))},
		{"a field of more than 10,000", 15, inHeader(longLine(10_000))},
		{"a field folded 200 times", 15, inHeader(func(s string) bool { return strings.Count(s, "\r\n\t") > 200 })},
		{"parts", 100, contains("\r\n------=_Part_")},
		{"S/MIME", 20, inHeader(contains("pkcs7-"))},
		{"PGP/MIME", 20, inHeader(contains("application/pgp-"))},
		{"PGP in the text", 10, contains("\n- -----")},
	}
}

func contains(any ...string) func(string) bool {
	return func(s string) bool {
		return slices.ContainsFunc(any, func(piece string) bool { return strings.Contains(s, piece) })
	}
}

// above: there is an octet above that one.
func above(octet rune) func(string) bool {
	return func(s string) bool { return strings.ContainsFunc(s, func(r rune) bool { return r > octet }) }
}

// longLine: there is a line of at least so many octets, without its CRLF.
func longLine(octets int) func(string) bool {
	return func(s string) bool {
		for line := range strings.SplitSeq(s, "\r\n") {
			if utf8.RuneCountInString(line) >= octets {
				return true
			}
		}
		return false
	}
}

func inHeader(in func(string) bool) func(string) bool {
	return func(s string) bool { return in(header(s)) }
}

// header is what stands before the empty line.
func header(s string) string {
	header, _, _ := strings.Cut(s, "\r\n\r\n")
	return header
}

// TestCorpus: the messages are always the same, they have what they are made
// for, and nothing that the relay refuses.
func TestCorpus(t *testing.T) {
	all, again := corpus(corpusSeed, corpusSize), corpus(corpusSeed, corpusSize)
	wanted, found, size := traits(), map[string]int{}, 0
	for i, s := range all {
		if !bytes.Equal(s.content, again[i].content) || fmt.Sprint(s.signatures) != fmt.Sprint(again[i].signatures) {
			t.Errorf("message %d is another one the second time", i)
		}
		if rest := bytes.ReplaceAll(s.content, []byte("\r\n"), nil); bytes.ContainsAny(rest, "\r\n") {
			t.Errorf("message %d (%s) has a bare CR or LF", i, s.shape)
		}
		latin := latin1(s.content)
		for _, trait := range wanted {
			if trait.in(latin) {
				found[trait.name]++
			}
		}
		size += len(s.content)
	}
	for _, trait := range wanted {
		if found[trait.name] < trait.atLeast {
			t.Errorf("only %d messages have: %s", found[trait.name], trait.name)
		}
	}
	t.Logf("%d messages of %d KiB together: %v", len(all), size>>10, found)
}

// latin1 makes a rune of each octet, for expressions that are about octets.
func latin1(content []byte) string {
	runes := make([]rune, len(content))
	for i, c := range content {
		runes[i] = rune(c)
	}
	return string(runes)
}
