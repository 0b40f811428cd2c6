package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/admin"
)

// phases says how far a dialogue had come.
var phases = map[string]string{
	"resolve": "looking up its name",
	"connect": "connecting",
	"banner":  "waiting for its greeting",
	"hello":   "EHLO",
	"tls":     "STARTTLS",
	"mail":    "MAIL",
	"rcpt":    "RCPT",
	"data":    "DATA",
	"final":   "the final dot",
	"reset":   "RSET",
}

// signalWords says in a few words what was observed.
func (a *app) signalWords(s admin.Signal) string {
	words := a.brief(s.Reply)
	switch {
	case words == "":
		words = s.Class
	case s.Class == "ok" && !a.whole():
		words = codes(words)
	}
	var how []string
	if phase := phases[s.Phase]; phase != "" {
		how = append(how, phase)
	} else if s.Phase != "" {
		how = append(how, s.Phase)
	}
	return clean(fmt.Sprintf("%s (%s)", words, strings.Join(append(how, took(s.TookSeconds)), ", ")))
}

// codes is the beginning of a reply: its code and enhanced status code.
func codes(reply string) string {
	words := strings.Fields(reply)
	n := 1
	if len(words) > 1 && strings.Count(words[1], ".") == 2 {
		n = 2
	}
	return strings.Join(words[:n], " ")
}

// brief shortens a reply for people; -o wide and programs have all of it.
func (a *app) brief(reply string) string {
	if a.whole() {
		return reply
	}
	return admin.Brief(reply)
}

// whole reports whether nothing is shortened.
func (a *app) whole() bool {
	format, _ := a.format()
	return format != formatTable
}

// took writes how long something took.
func took(seconds float64) string {
	d := admin.Duration(seconds)
	if d >= 10*time.Second {
		return span(d)
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}
