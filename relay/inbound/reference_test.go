package inbound

import (
	"bufio"
	"bytes"
	"io"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Readers of what clients send are held against others that are slow and plain.

// slowHeader reads a header as the RFC describes it: it is cut into lines, these
// are unfolded into fields, and each is looked at.
func slowHeader(content []byte, by string) (received, own int, id string) {
	var fields []string
	for line := range strings.SplitAfterSeq(string(content), "\n") {
		if strings.HasPrefix(line, "\r") || strings.HasPrefix(line, "\n") {
			break
		}
		if folded := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t"); folded && len(fields) > 0 {
			fields[len(fields)-1] += line
		} else {
			fields = append(fields, line)
		}
	}
	for _, field := range fields {
		long := len(field) > maxField
		name, value, ok := strings.Cut(field[:min(len(field), maxField)], ":")
		switch name = strings.ToLower(strings.TrimRight(name, " \t")); {
		case ok && name == "received":
			received++
			if slowStamped(value, by) {
				own++
			}
		case ok && name == "message-id" && id == "" && !long:
			id = slowMessageID.FindString(value)
			if strings.ContainsFunc(id, unicode.IsSpace) || strings.ContainsFunc(id, unicode.IsControl) || !utf8.ValidString(id) {
				id = ""
			}
		}
	}
	return received, own, id
}

var slowMessageID = regexp.MustCompile(`<[^>]*>`)

// slowWords reads the words of a Received field letter by letter.
func slowWords(value string) (words []string) {
	word, depth, quoted, escaped := "", 0, false, false
	end := func() {
		if word != "" {
			words = append(words, word)
		}
		word = ""
	}
	for i := range len(value) {
		c := value[i : i+1]
		switch {
		case escaped:
			if escaped = false; depth == 0 {
				word += c
			}
		case depth > 0:
			switch c {
			case `\`:
				escaped = true
			case "(":
				depth++
			case ")":
				depth--
			}
		case quoted:
			escaped, quoted = c == `\`, c != `"`
			word += c
		case c == "(":
			end()
			depth++
		case c == ";":
			end()
			return words
		case strings.Contains(" \t\r\n", c):
			end()
		default:
			quoted = c == `"`
			word += c
		}
	}
	end()
	return words
}

// slowStamped looks for the first name behind "by" and the first one behind "id".
// What is behind "from" is a name of the client, whatever it looks like.
func slowStamped(value, by string) bool {
	words := slowWords(value)
	named := map[string]string{}
	for i := 0; i+1 < len(words); i++ {
		clause := strings.ToLower(words[i])
		if clause == "from" {
			i++
			continue
		}
		if named[clause] == "" {
			named[clause] = words[i+1]
		}
	}
	return strings.EqualFold(named["by"], by) && ownID.MatchString(named["id"])
}

// ownID is a queue.ID: 60 bits in lower-case base32 of Crockford.
var ownID = regexp.MustCompile(`^[0-9a-hjkmnp-tv-z]{12}$`)

func FuzzReceivedWords(f *testing.F) {
	for _, seed := range []string{"from a (b [192.0.2.1]) by mx2.example (mxkeep) with ESMTP id 06abcdefghjk; now", `a"b\"(c"d (e\)f (g)) h`, "((", `"`, `(\`, "from by by mx2.example id 06abcdefghjk", "by by id id"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		var words []string
		for word, rest := receivedWord(value); word != ""; word, rest = receivedWord(rest) {
			if words = append(words, word); !strings.HasSuffix(value, rest) || len(words) > len(value) {
				t.Fatalf("%q: %q, then %q", value, words, rest)
			}
		}
		if want := slowWords(value); !slices.Equal(words, want) {
			t.Fatalf("%q: %q, want %q", value, words, want)
		}
		if got, want := stamped(value, "mx2.example"), slowStamped(value, "mx2.example"); got != want {
			t.Fatalf("%q: stamped is %v, want %v", value, got, want)
		}
	})
}

// FuzzHeaderFields: in pieces of any size it counts and finds what the slow
// reader does, and keeps no more than a field of its length.
func FuzzHeaderFields(f *testing.F) {
	f.Add([]byte("Received: from a by mx2.example id 06abcdefghjk; now\r\nMESSAGE-ID : (x)\r\n <1@x>\r\n\r\nReceived: b\r\n"), 5)
	f.Add([]byte(" Received: a\nReceived\t:\n:\n\r"), 1)
	f.Add([]byte("X:"+strings.Repeat("x", 998)+"\r\nReceived:"+strings.Repeat(" ", 2000)+"\nReceived : b"), 7)
	f.Fuzz(func(t *testing.T, content []byte, size int) {
		h := newHeader()
		h.by = "mx2.example"
		for p := content; len(p) > 0; {
			n := min(max(1, size), len(p))
			h.scan(p[:n])
			if p = p[n:]; cap(h.field) > 4*maxField {
				t.Fatalf("%q: it keeps %d octets", content, cap(h.field))
			}
		}
		h.finish()
		received, own, id := slowHeader(content, h.by)
		if h.received != received || h.own != own || h.messageID != id {
			t.Fatalf("%q: %d %d %q, want %d %d %q", content, h.received, h.own, h.messageID, received, own, id)
		}
	})
}

// parameterGrammar is that of RFC 5321 4.1.2, for ASCII that may stand in a command.
var parameterGrammar = regexp.MustCompile(`^(?: +[A-Za-z0-9][A-Za-z0-9-]*(?:=[^= ]+)?)* *$`)

// slowParameters reports whether parameters are taken.
func slowParameters(behind string) bool {
	if !parameterGrammar.MatchString(behind) {
		return false
	}
	seen := map[string]bool{}
	for word := range strings.FieldsSeq(strings.ToUpper(behind)) {
		keyword, value, valued := strings.Cut(word, "=")
		number, isNumber := new(big.Int).SetString(value, 10)
		switch {
		case seen[keyword], keyword == "SMTPUTF8" && valued:
			return false
		case keyword == "SIZE" && (!isNumber || len(value) > 20 || !regexp.MustCompile(`^[0-9]+$`).MatchString(value) || number.BitLen() > 32):
			return false
		}
		seen[keyword] = true
	}
	return true
}

func FuzzParameterGrammar(f *testing.F) {
	for _, seed := range []string{"", " ", " SIZE=5 BODY=7BIT", " SIZE=4294967296", " SIZE=00000000000000000001", " a-b=c a-b", " smtputf8=1", " -a", " a=b=c", "a", " SIZE=+1", " SIZE=1_0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, behind string) {
		if strings.ContainsFunc(behind, func(r rune) bool { return r < ' ' || r > '~' }) {
			return // parseCommand refuses the first ones; what is not ASCII is divided as the engine does it
		}
		if no := checkParameters(behind); (no == nil) != slowParameters(behind) {
			t.Fatalf("%q: %+v", behind, no)
		}
	})
}

// FuzzChunkSize: as many octets are taken for content as was said, to a digit.
func FuzzChunkSize(f *testing.F) {
	for _, seed := range []string{"5", "0 LAST", "00000000005 last", "4294967295", "4294967296", "99999999999999999999", "+5", "5 ", "5  LAST", "5 LAST X", "-0", "٣"} {
		f.Add(seed)
	}
	grammar := regexp.MustCompile(`^([0-9]+)( (?i:LAST))?$`)
	f.Fuzz(func(t *testing.T, arg string) {
		c, no := parseCommand(trimEnd([]byte("bdat " + arg + "\r\n")))
		said := grammar.FindStringSubmatch(strings.TrimSpace(arg))
		if no != nil {
			if !no.cut && len(arg) < maxLine-7 {
				t.Fatalf("%q is refused, and the connection goes on: %+v", arg, no)
			}
			if n := new(big.Int); said != nil && len(arg) < 100 && !strings.ContainsFunc(arg, unicode.IsControl) {
				if n.SetString(said[1], 10); n.BitLen() <= 32 {
					t.Fatalf("%q is refused: %+v", arg, no)
				}
			}
			return
		}
		if said == nil || strings.TrimLeft(said[1], "0") != strings.TrimLeft(strconv.FormatInt(c.chunk, 10), "0") || c.last != (said[2] != "") {
			t.Fatalf("%q is taken as %+v", arg, c)
		}
	})
}

// FuzzProxyRoundTrip: the address that a proxy writes is the one that is read,
// in both versions, and what is behind the header stays.
func FuzzProxyRoundTrip(f *testing.F) {
	f.Add([]byte{192, 0, 2, 7}, uint16(4025), false, []byte("tlv"), []byte("EHLO a\r\n"))
	f.Add([]byte("\x20\x01\x0d\xb80123456789ab"), uint16(0), true, []byte{}, []byte(signature))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x07"), uint16(65535), true, []byte{4}, []byte("PROXY UNKNOWN\r\n"))
	f.Fuzz(func(t *testing.T, octets []byte, port uint16, second bool, more, behind []byte) {
		from, ok := netip.AddrFromSlice(octets)
		if !ok || len(more) > maxProxy2-36 || !second && from.Is4In6() { // version 1 has another word for that one
			return
		}
		to, kind, family := netip.MustParseAddr("198.51.100.1"), "TCP4", byte(0x11)
		if from.Is6() {
			to, kind, family = netip.MustParseAddr("2001:db8::25"), "TCP6", 0x21
		}
		header := "PROXY " + kind + " " + from.String() + " " + to.String() + " " + strconv.Itoa(int(port)) + " 25\r\n"
		if second {
			header = proxy2(0x21, family, string(from.AsSlice())+string(to.AsSlice())+string([]byte{byte(port >> 8), byte(port), 0, 25})+string(more))
		}
		in := bufio.NewReaderSize(strings.NewReader(header+string(behind)), readBuffer)
		got, err := readProxy(in)
		rest, _ := io.ReadAll(in)
		if err != nil || got != from.Unmap() || !bytes.Equal(rest, behind) {
			t.Fatalf("%q: %v, %v, %q is left", header, got, err, rest)
		}
	})
}

// FuzzSender: the reverse-path that is kept is the one that was said, by the
// grammar, whatever the engine makes of it in between.
func FuzzSender(f *testing.F) {
	for _, seed := range []string{"<>", "<a@b.example>", `<"a b"@b.example> SIZE=5`, "<@r.example:a@b.example>", "a@b.example", ` <"a\"@x"@b.example>`,
		"<a@[192.0.2.1]>", "<postmaster>", `<"">`, `<""@b.example>`, "<a@b@c>", `<"a@b"@c>`, "<a@b.example> ENVID=x+2By", "<a@b.example>SIZE=5", "<ä@b.example> SMTPUTF8", `<"\a"@b.example>`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		line := "MAIL FROM:" + arg + "\r\n"
		if c, no := parseCommand(trimEnd([]byte(line))); no != nil || c.verb != "MAIL" {
			return
		}
		r := newRig(t, nil)
		w := r.dial("192.0.2.1").hello()
		w.say(line)
		taken := strings.HasPrefix(w.reply(), "250")
		if taken {
			w.ask("RCPT TO:<a@d.example>", "250")
			w.ask("DATA", "354")
			w.ask(".", "250")
		}
		w.close()
		r.finish()
		text, _ := cutPath(strings.TrimSpace(strings.TrimRight(arg, " \t")))
		if strings.HasPrefix(text, "@") { // a source route is dropped (RFC 5321 C)
			_, text, _ = strings.Cut(text, ":")
		}
		want, err := smtp.ParsePath(text)
		switch {
		case taken && err != nil:
			t.Fatalf("%q is taken as %q, and is no path: %v", arg, r.messages()[0].Envelope.ReversePath, err)
		case taken && r.messages()[0].Envelope.ReversePath != want.String():
			t.Fatalf("%q is taken as %q, want %q", arg, r.messages()[0].Envelope.ReversePath, want)
		}
	})
}

// FuzzSafe: of what a primary says a client hears one line of printable ASCII,
// of a length that it can read, with the same code.
func FuzzSafe(f *testing.F) {
	f.Add(550, uint8(5), uint16(1), uint16(1), "no such user\r\n250 ok")
	f.Add(451, uint8(5), uint16(7), uint16(1), "")
	f.Add(250, uint8(2), uint16(6), uint16(0), strings.Repeat("ä", 1000))
	f.Fuzz(func(t *testing.T, code int, class uint8, subject, detail uint16, text string) {
		said := smtp.Reply{Code: 200 + (code&0x7fffffff)%400, Status: smtp.EnhancedStatus{int(class), int(subject) % 1000, int(detail) % 1000}, Lines: strings.Split(text, "\n")}
		r := safe(said)
		line := string(wireReply(r))
		if r.Code != said.Code || len(r.Lines) != 1 || r.Lines[0] == "" || len(line) > 512 || strings.Count(line, "\r\n") != 1 || !strings.HasSuffix(line, "\r\n") {
			t.Fatalf("%+v becomes %q", said, line)
		}
		if strings.ContainsFunc(r.Lines[0], func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Fatalf("%+v becomes %q", said, line)
		}
		if r.Status != (smtp.EnhancedStatus{}) && r.Status[0] != r.Code/100 {
			t.Fatalf("%+v contradicts itself: %q", said, line)
		}
	})
}
