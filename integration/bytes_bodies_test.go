package integration

import (
	"fmt"
	"strings"
)

// bodies are what messages are shaped like: the fields about the content, and
// the content behind the header.
var bodies = []struct {
	name string
	make func(*author) (fields []string, body string)
}{
	{"a short text", func(a *author) ([]string, string) { return mime("text/plain; charset=us-ascii", "7bit"), a.prose(4) }},
	{"no MIME at all", func(a *author) ([]string, string) { return nil, a.prose(20) }},
	{"UTF-8", func(a *author) ([]string, string) {
		return mime("text/plain; charset=utf-8", "8bit"), a.some(10, func() string { return "Grüße, " + a.words(5) + ", 名前 – 😀\r\n" })
	}},
	{"Latin-1", func(a *author) ([]string, string) {
		return mime("text/plain; charset=iso-8859-1", "8bit"), a.some(10, func() string { return "Gr\xfc\xdfe \xff " + a.words(5) + "\r\n" })
	}},
	{"quoted-printable", func(a *author) ([]string, string) {
		return mime("text/html; charset=utf-8", "quoted-printable"), a.some(30, func() string { return "<p class=3D\"x\">" + a.words(6) + " =C3=BC=\r\n" }) + "=20\r\n"
	}},
	{"flowed text", func(a *author) ([]string, string) {
		return mime("text/plain; charset=utf-8; format=flowed; delsp=yes", "8bit"), a.some(12, func() string { return a.words(9) + " \r\n" }) + "\r\n-- \r\n" + a.words(2) + "\r\n"
	}},
	{"two alternatives", func(a *author) ([]string, string) {
		return a.multipart("alternative", part("text/plain", a.prose(5)), part("text/html", "<p>"+a.words(30)+"</p>\r\n"))
	}},
	{"a small attachment", func(a *author) ([]string, string) {
		return a.multipart("mixed", part("text/plain", a.prose(5)), attachment("report.pdf", a.octets(3000)))
	}},
	{"a large attachment", func(a *author) ([]string, string) {
		return a.multipart("mixed", part("text/plain", a.prose(5)), attachment("drawing.dwg", a.octets(20_000+a.random.IntN(100_000))))
	}},
	{"parts in parts", func(a *author) ([]string, string) {
		inner, text := a.multipart("alternative", part("text/plain", a.prose(3)), part("text/html", "<img src=\"cid:1\">\r\n"))
		return a.multipart("related", strings.Join(inner, "")+"\r\n"+text, attachment("logo.png", a.octets(500)))
	}},
	{"a forwarded message", func(a *author) ([]string, string) {
		return a.multipart("mixed", part("text/plain", "see below\r\n"), part("message/rfc822", strings.Join(a.header(), "")+"\r\n"+a.prose(8)))
	}},
	{"a notification", func(a *author) ([]string, string) {
		return a.multipart("report; report-type=delivery-status", part("text/plain", a.prose(3)),
			part("message/delivery-status", "Reporting-MTA: dns; mx.sender.example\r\n\r\nFinal-Recipient: rfc822; x@sender.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"),
			part("text/rfc822-headers", strings.Join(a.header(), "")))
	}},
	{"an invitation", func(a *author) ([]string, string) {
		return mime("text/calendar; method=REQUEST; charset=utf-8", "8bit"), "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:" + a.words(20) + "\r\n " + a.words(5) + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	}},
	{"S/MIME, signed", func(a *author) ([]string, string) {
		return a.multipart(`signed; protocol="application/pkcs7-signature"; micalg=sha-256`, part("text/plain; charset=utf-8", "trailing blanks  \r\n.dots\r\n"+a.prose(6)),
			attachment("smime.p7s", a.octets(2500)))
	}},
	{"S/MIME, encrypted", func(a *author) ([]string, string) {
		return mime(`application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"`, "base64"), a.octets(4000 + a.random.IntN(8000))
	}},
	{"PGP/MIME, signed", func(a *author) ([]string, string) {
		return a.multipart(`signed; micalg=pgp-sha512; protocol="application/pgp-signature"`, part("text/plain; charset=utf-8", "Grüße \t\r\n-- \r\n"+a.prose(4)),
			part("application/pgp-signature; name=signature.asc", armour("SIGNATURE", a.octets(400))))
	}},
	{"PGP/MIME, encrypted", func(a *author) ([]string, string) {
		return a.multipart(`encrypted; protocol="application/pgp-encrypted"`, part("application/pgp-encrypted", "Version: 1\r\n"),
			part("application/octet-stream", armour("MESSAGE", a.octets(5000))))
	}},
	{"PGP in the text", func(a *author) ([]string, string) {
		return nil, "-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA512\r\n\r\n- -----dashes-----\r\n" + a.prose(4) + armour("SIGNATURE", a.octets(400))
	}},
	{"a patch", func(a *author) ([]string, string) {
		return mime("text/x-patch", "8bit"), "diff --git a/.x b/.x\r\n--- a/.x\r\n+++ b/.x\r\n@@ -1,3 +1,3 @@\r\n" +
			a.some(30, func() string {
				return a.pick("+", "-", " ", " \t", ".", "..") + a.words(4) + a.pick("", " ", "\t") + "\r\n"
			})
	}},
	{"nothing but dots", func(a *author) ([]string, string) {
		return nil, a.some(40, func() string { return strings.Repeat(".", 1+a.random.IntN(5)) + "\r\n" })
	}},
	{"many short lines", func(a *author) ([]string, string) { // so that any buffer ends within something of interest
		return nil, a.some(25_000, func() string { return a.pick(".\r\n", "..\r\n", "\r\n", "a\r\n", ".b\r\n", " \r\n") })
	}},
	{"a line of 998 octets", func(a *author) ([]string, string) {
		return nil, a.some(4, func() string { return strings.Repeat("x", 997) + "y\r\n" + strings.Repeat(".", 998) + "\r\n" })
	}},
	{"a longer line", func(a *author) ([]string, string) {
		return mime("text/html; charset=utf-8", "8bit"), "<p>" + strings.Repeat(a.words(3)+" ü ", 60+a.random.IntN(300)) + "</p>\r\n"
	}},
	{"an endless line", func(a *author) ([]string, string) {
		return mime("application/json", "8bit"), ".{" + strings.Repeat(`"k":"`+a.words(2)+`",`, 3500+a.random.IntN(2000)) + "}\r\n.\r\n"
	}},
	{"trailing blanks", func(a *author) ([]string, string) {
		return nil, a.some(15, func() string { return a.words(3) + a.pick(" ", "  ", "\t", " \t ") + "\r\n" })
	}},
	{"leading blanks", func(a *author) ([]string, string) {
		return nil, "\r\n\r\n" + a.some(15, func() string { return a.pick(" ", "\t", "    ") + a.words(3) + "\r\n" })
	}},
	{"NUL and others", func(a *author) ([]string, string) {
		return mime("application/octet-stream", "8bit"), a.some(20, func() string { return a.words(1) + "\x00\x01\a\b\v\f\x1a\x1b\x7f" + a.words(1) + "\x00\r\n" })
	}},
	{"all octets but CR and LF", func(a *author) ([]string, string) {
		return mime("application/octet-stream", "8bit"), a.some(200, func() string {
			line := make([]byte, a.random.IntN(200))
			for i := range line {
				if line[i] = byte(a.random.Uint32()); line[i] == '\r' || line[i] == '\n' {
					line[i] = '.'
				}
			}
			return string(line) + "\r\n"
		})
	}},
	{"lines of mailboxes", func(a *author) ([]string, string) {
		return nil, "From here on\r\n>From there\r\n\r\nFrom: not a field\r\n" + a.prose(3) + "begin 644 x.bin\r\n#0V%T\r\n`\r\nend\r\n"
	}},
	{"commands", func(a *author) ([]string, string) {
		return nil, "QUIT\r\nRSET\r\n.QUIT\r\nBDAT 5 LAST\r\nMAIL FROM:<x@sender.example>\r\n\x1a\r\n" + a.prose(2)
	}},
	{"no body", func(*author) ([]string, string) { return nil, "" }},
	{"nothing but empty lines", func(a *author) ([]string, string) { return nil, strings.Repeat("\r\n", 2+a.random.IntN(20)) }},
	{"nothing but blanks", func(*author) ([]string, string) { return nil, "  \r\n\t\r\n \r\n" }},
}

// mime are the fields of a content.
func mime(kind, encoding string) []string {
	return []string{"Content-Type: " + kind + "\r\n", "Content-Transfer-Encoding: " + encoding + "\r\n"}
}

// multipart is a content of parts, with text before and behind them.
func (a *author) multipart(kind string, parts ...string) (fields []string, body string) {
	boundary := fmt.Sprintf("----=_Part_%d_%08x.%x", a.number, a.random.Uint32(), a.random.Uint64())
	body = a.pick("", "This is a multi-part message in MIME format.\r\n")
	for _, p := range parts {
		body += "--" + boundary + "\r\n" + p + a.pick("", "\r\n")
	}
	return []string{"Content-Type: multipart/" + kind + ";\r\n\tboundary=\"" + boundary + "\"\r\n"}, body + "--" + boundary + "--\r\n" + a.pick("", "\r\n", "behind all parts\r\n")
}

func part(kind, text string) string { return "Content-Type: " + kind + "\r\n\r\n" + text }

func attachment(name, octets string) string {
	return "Content-Type: application/octet-stream; name=\"" + name + "\"\r\nContent-Transfer-Encoding: base64\r\n" +
		"Content-Disposition: attachment;\r\n filename=\"" + name + "\"\r\n\r\n" + octets
}

func armour(kind, octets string) string {
	return "-----BEGIN PGP " + kind + "-----\r\n\r\n" + octets + "=abcd\r\n-----END PGP " + kind + "-----\r\n"
}
