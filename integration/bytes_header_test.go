package integration

import (
	"fmt"
	"strings"
)

// habits are how programs write headers. Each gets whole fields and gives them back.
var habits = []struct {
	name   string
	utf8   bool // needs SMTPUTF8
	change func(*author, []string) []string
}{
	{"a usual header", false, func(_ *author, f []string) []string { return f }},
	{"no blank behind the colon", false, func(_ *author, f []string) []string {
		return each(f, func(s string) string { return strings.Replace(s, ": ", ":", 1) })
	}},
	{"blanks around values", false, func(a *author, f []string) []string {
		return each(f, func(s string) string {
			return strings.TrimSuffix(strings.Replace(s, ": ", a.pick(":\t", ":  ", ": \t "), 1), "\r\n") + a.pick(" ", "\t", "   ") + "\r\n"
		})
	}},
	{"names in odd case", false, oddCase},
	{"folded with tabs", false, func(a *author, f []string) []string { return folded(a, f, "\r\n\t") }},
	{"folded with blanks", false, func(a *author, f []string) []string { return folded(a, f, "\r\n        ") }},
	{"a line of blanks in a field", false, func(a *author, f []string) []string {
		return append(f, "X-Gap: one\r\n \r\n\ttwo\r\n", "X-Comment:\r\n\t\r\n "+a.words(3)+"\r\n")
	}},
	{"folded behind the name", false, func(_ *author, f []string) []string {
		return each(f, func(s string) string { return strings.Replace(s, ": ", ":\r\n ", 1) })
	}},
	{"empty fields", false, func(_ *author, f []string) []string {
		return append(f, "X-Empty:\r\n", "X-Blank: \r\n", "Comments:\r\n", "X-Tabs:\t\t\r\n")
	}},
	{"the same fields again", false, func(a *author, f []string) []string {
		return append(f, "Keywords: "+a.words(2)+"\r\n", "Comments: "+a.words(4)+"\r\n", "Keywords: "+a.words(3)+"\r\n", "keywords: "+a.words(1)+"\r\n",
			"Subject: "+a.words(2)+"\r\n", "To: another@corp.example\r\n")
	}},
	{"a trace of many hops", false, func(a *author, f []string) []string {
		var hops []string
		for i := range 8 {
			hops = append(hops, fmt.Sprintf("Received: from hop%d.sender.example (unknown [IPv6:2001:db8::%x])\r\n        by hop%d.sender.example (Postfix) with ESMTP id %X\r\n        for <reader@corp.example>; %s (CEST)\r\n", i+1, i+1, i, a.random.Uint64(), a.date()))
		}
		return append(append([]string{"Return-Path: <>\r\n", "Delivered-To: reader@corp.example\r\n",
			"Authentication-Results: mx.elsewhere.example;\r\n\tdkim=none; spf=pass smtp.mailfrom=sender.example\r\n"}, hops...), f...)
	}},
	{"a very long field", false, func(a *author, f []string) []string {
		return append(f, "X-Report: "+strings.Repeat("id=0123456789abcdef;", 520+a.random.IntN(400))+"\r\n")
	}},
	{"a field of many lines", false, func(a *author, f []string) []string {
		return append(f, "References: <first@sender.example>"+a.some(260, func() string {
			return fmt.Sprintf("\r\n\t<%016x@sender.example>", a.random.Uint64())
		})+"\r\n")
	}},
	{"groups", false, func(a *author, f []string) []string {
		return append(f, "Cc: undisclosed-recipients:;\r\n", `Reply-To: "The Board; all of it": one@sender.example, "Two, Jr." <two@sender.example>;`+"\r\n")
	}},
	{"encoded words", false, func(a *author, f []string) []string {
		return append(f, "X-Topic: =?utf-8?B?R3LDvMOfZSBhdXMgS8O2bG4=?=\r\n =?iso-8859-1?Q?_und_M=FCnchen?= =?utf-8?q?=E2=82=AC?=\r\n",
			"Sender: =?utf-8?B?5ZCN5YmN?= <"+a.words(1)+"@sender.example>\r\n")
	}},
	{"UTF-8", true, func(a *author, f []string) []string {
		return append(f, "X-Topic: Grüße aus Köln, 名前, "+a.words(2)+" 😀\r\n", "Sender: Jürgen Müßig <jürgen@sender.example>\r\n", "Comments: e\u0301 is not é\r\n")
	}},
	{"octets above ASCII that nobody announced", false, func(_ *author, f []string) []string {
		return append(f, "X-Topic: caf\xe9 \xff\xfe\r\n", "Organization: Gr\xfc\xdfe & S\xf6hne\r\n")
	}},
	{"comments and quotes", false, func(a *author, f []string) []string {
		return append(f, `Sender: (a \) comment (in another)) "odd ..\"name\"" <"quo ted"@sender.example> (end)`+"\r\n", "X-Date: Fri, 2 Oct 2026 10:00:00 +0000 (UTC)\r\n")
	}},
	{"those of a list", false, func(a *author, f []string) []string {
		return append(f, "List-Id: The List <list.sender.example>\r\n", "List-Unsubscribe: <https://sender.example/u?"+strings.Repeat("abc123", 40)+">,\r\n\t<mailto:leave@sender.example>\r\n",
			"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", "Precedence: bulk\r\n", "Feedback-ID: 1:2:3:sender\r\n")
	}},
	{"sent again", false, func(a *author, f []string) []string {
		return append([]string{"Resent-From: " + a.words(1) + "@sender.example\r\n", "Resent-Date: " + a.date() + "\r\n", "Resent-To: reader@corp.example\r\n",
			"Resent-Message-ID: <again@sender.example>\r\n"}, f...)
	}},
	{"control characters", false, func(_ *author, f []string) []string {
		return append(f, "X-Control: bell\a NUL\x00 tab\v form\f escape\x1b[1m delete\x7f end\r\n")
	}},
	{"names of odd letters", false, func(_ *author, f []string) []string {
		return append(f, "X_Odd.Name!#$%&'*+-/=?^`{|}~1: yes\r\n", "2: a number\r\n", "-: a dash\r\n")
	}},
	{"another order", false, func(a *author, f []string) []string {
		a.random.Shuffle(len(f), func(i, j int) { f[i], f[j] = f[j], f[i] })
		return f
	}},
}

// each changes every field.
func each(fields []string, change func(string) string) []string {
	for i := range fields {
		fields[i] = change(fields[i])
	}
	return fields
}

// oddCase writes names as few programs do.
func oddCase(a *author, fields []string) []string {
	return each(fields, func(s string) string {
		name, value, _ := strings.Cut(s, ":")
		switch a.random.IntN(3) {
		case 0:
			name = strings.ToUpper(name)
		case 1:
			name = strings.ToLower(name)
		default:
			name = strings.ToLower(name[:1]) + strings.ToUpper(name[1:])
		}
		return name + ":" + value
	})
}

// folded breaks values at some of their blanks.
func folded(a *author, fields []string, fold string) []string {
	return each(fields, func(s string) string {
		name, value, _ := strings.Cut(s, ": ")
		words := strings.Split(value, " ")
		value = words[0]
		for _, word := range words[1:] {
			value += a.pick(" ", fold+" ", fold) + word
		}
		return name + ": " + value
	})
}
