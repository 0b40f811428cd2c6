package dsn

import (
	"bytes"
	"unicode/utf8"
)

// maxHeader is how many bytes of a header are returned at most.
const maxHeader = 64 << 10

// returnedPart is what is returned of the message: all of it if its sender
// asked for that (RET=FULL), it failed, and it is neither long nor made of lines
// that could not be sent on; otherwise its header.
func returnedPart(n Notice, utf8 bool) (part, bool) {
	if len(n.Original) == 0 {
		return part{}, false
	}
	whole := n.Message.Envelope.Params.Ret == "FULL" && n.Kind == Failure // RFC 3461 6.2: of others only the header
	form := formOf(n.Original)
	if whole && !n.Cut && len(n.Original) <= MaxOriginal && form != formOdd {
		p := part{kind: "message/rfc822", about: "Undelivered message", encoding: form, body: n.Original}
		if utf8 {
			p.kind = "message/global"
		}
		return p, true
	}
	header := headerOf(n.Original)
	if len(header) == 0 {
		return part{}, false
	}
	p := part{kind: "text/rfc822-headers", about: "Header of the message", encoding: formOf(header), body: header}
	if utf8 {
		p.kind = "message/global-headers"
	}
	if p.encoding != form7bit { // also what is 8-bit: so the whole notification may be 7-bit
		p.encoding, p.body = "quoted-printable", quotedPrintable(bytes.TrimSuffix(header, []byte("\r\n")))
	}
	return p, true
}

// The forms of content, as Content-Transfer-Encoding says them.
const (
	form7bit = "7bit"
	form8bit = "8bit"
	formOdd  = "binary"
)

// formOf says what content is made of (RFC 2045 2.7 to 2.9).
func formOf(content []byte) string {
	form := form7bit
	for line := range bytes.SplitSeq(content, []byte("\r\n")) {
		if len(line) > maxLine || bytes.ContainsAny(line, "\r\n\x00") {
			return formOdd
		}
		if form == form7bit && bytes.ContainsFunc(line, func(r rune) bool { return r >= utf8.RuneSelf }) {
			form = form8bit
		}
	}
	return form
}

// headerOf is the header of the message, or as much of it as is returned. It
// ends with CRLF.
func headerOf(content []byte) []byte {
	if i := bytes.Index(content, []byte("\r\n\r\n")); i >= 0 {
		content = content[:i+2]
	}
	if len(content) > maxHeader {
		content = content[:maxHeader]
	}
	end := bytes.LastIndex(content, []byte("\r\n"))
	if end < 0 {
		return nil
	}
	return content[:end+2]
}
