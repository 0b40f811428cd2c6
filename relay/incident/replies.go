package incident

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

// Replies are equal replies to attempts, or to probes.
type Replies struct {
	Source   health.Source `json:"source"` // attempt, probe
	Command  string        `json:"command"`
	Code     int           `json:"code"` // 0 is no reply: Text says what happened
	Enhanced string        `json:"enhanced"`
	Text     string        `json:"text"` // of the first one, verbatim, from a remote server
	Count    int64         `json:"count"`
	First    time.Time     `json:"first"`
	Last     time.Time     `json:"last"`
	Servers  []string      `json:"servers"`  // names and addresses, the first maxNamed of them
	Sessions []string      `json:"sessions"` // the first maxNamed ids that the remote server gave dialogues
}

const (
	maxNamed   = 20
	maxReplies = 200 // kinds; a remote server chooses some of them
)

// kind is what makes replies equal.
type kind struct {
	source   health.Source
	command  string
	code     int
	enhanced string
	text     string // only without a code
}

type replies map[kind]*Replies

func (all replies) attempt(r queue.Result) {
	all.add(health.SourceAttempt, r.Reply, r.At, strings.TrimSpace(r.Host+" "+r.Address), r.RemoteSession)
}

func (all replies) add(source health.Source, r queue.Reply, at time.Time, server, session string) {
	k := kind{source: source, command: r.Command, code: r.Code, enhanced: r.Enhanced}
	if r.Code == 0 {
		k.text = r.Text
	}
	one := all[k]
	if one == nil {
		if len(all) >= maxReplies {
			return
		}
		one = &Replies{Source: source, Command: r.Command, Code: r.Code, Enhanced: r.Enhanced, Text: r.Text, First: at, Last: at}
		all[k] = one
	}
	one.Count++
	if at.Before(one.First) {
		one.First = at
	}
	if at.After(one.Last) {
		one.Last = at
	}
	one.Servers, one.Sessions = named(one.Servers, server), named(one.Sessions, session)
}

func named(names []string, name string) []string {
	if name == "" || len(names) >= maxNamed || slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}

func (all replies) list() []Replies {
	list := []Replies{}
	for _, one := range all {
		list = append(list, *one)
	}
	slices.SortFunc(list, func(a, b Replies) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), a.First.Compare(b.First), cmp.Compare(a.Command, b.Command), cmp.Compare(a.Text, b.Text))
	})
	return list
}

// probes takes in what probes were answered while the incident lasted.
func (all replies) probes(ctx context.Context, h History, i health.Incident) error {
	for s, err := range h.Samples(ctx, i.Upstream, i.Began, i.ClosedAt) {
		if err != nil {
			return err
		}
		if s.Source == health.SourceProbe {
			all.add(s.Source, parseReply(s.Command, s.Reply), s.At, strings.TrimSpace(s.Host+" "+s.Address), s.Session)
		}
	}
	return nil
}

// written is how queue.Reply.String writes a reply.
var written = regexp.MustCompile(`(?s)^([2-5][0-9]{2})(?: ([245]\.[0-9]{1,3}\.[0-9]{1,3}))?(?: (.*))?$`)

// parseReply reads the reply of a signal. What is no reply is an error in its place.
func parseReply(command, text string) queue.Reply {
	found := written.FindStringSubmatch(text)
	if found == nil {
		return queue.Reply{Command: command, Text: text}
	}
	code, _ := strconv.Atoi(found[1]) // the expression lets only digits through
	return queue.Reply{Command: command, Code: code, Enhanced: found[2], Text: found[3]}
}
