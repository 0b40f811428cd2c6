package reply

import (
	"cmp"
	_ "embed"
	"slices"
	"strings"
	"sync"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

//go:embed catalogue.md
var page string

// standing is the embedded catalogue, read once and never changed.
var standing = sync.OnceValue(func() catalogue {
	c, err := read(page)
	if err != nil {
		panic(err) // a mistake of ours: the table is part of the program
	}
	return c
})

// catalogue is the table. The order of its lines means nothing.
type catalogue []line

// line is one line of the table: what a reply must have, and the verdict.
// An empty list asks for nothing.
type line struct {
	source   string // the line itself; no two are the same
	codes    []span
	failures []Failure
	statuses []statusRange
	tags     []string // NAME, or NAME* for any that begins so
	texts    []string // lower case
	phases   []health.Phase
	verdict  Verdict
}

type span struct{ from, to int }

func (s span) has(n int) bool { return s.from <= n && n <= s.to }
func (s span) width() int     { return s.to - s.from + 1 }

// statusRange is a range of details. The zero statusRange holds the zero
// EnhancedStatus alone: a reply without one.
type statusRange struct {
	class, subject int
	detail         span
}

func (r statusRange) has(s smtp.EnhancedStatus) bool {
	return r.class == s[0] && r.subject == s[1] && r.detail.has(s[2])
}

// question is what the lines are asked about: a reply, or a failure.
type question struct {
	phase   health.Phase
	failure Failure
	code    int
	status  smtp.EnhancedStatus
	tags    []string
	text    string // lower case
}

func ask(phase health.Phase, r smtp.Reply) question {
	text := r.Text()
	q := question{phase: phase, code: r.Code, status: r.Status, text: strings.ToLower(text)}
	if !r.Positive() { // an acceptance quotes the sender's Message-ID, whatever that says
		q.tags = tagsOf(text)
	}
	return q
}

// best is the most specific line that fits. Lines that are equally specific
// are told apart by their text, so the order of the table never decides.
func (c catalogue) best(q question) (best *line, found bool) {
	var least rank
	for i := range c {
		l := &c[i]
		r, ok := l.fit(q)
		if !ok {
			continue
		}
		if !found || cmp.Or(slices.Compare(r[:], least[:]), strings.Compare(l.source, best.source)) < 0 {
			best, least, found = l, r, true
		}
	}
	return best, found
}

// rank says how specific a fit is: how much the enhanced code, the basic code,
// the tag, the text and the phase leave open, the most telling first.
type rank [5]int

const open = 1 << 20 // asked for nothing: more than any list leaves open

// fit reports whether the line fits and how specific it is.
func (l *line) fit(q question) (rank, bool) {
	code := narrowest(l.codes, func(s span) bool { return q.failure == "" && s.has(q.code) }, span.width)
	if len(l.failures) > 0 { // instead of codes
		code = narrowest(l.failures, func(f Failure) bool { return f == q.failure }, func(Failure) int { return 1 })
	}
	if code == misfit { // most lines end here
		return rank{}, false
	}
	r := rank{
		narrowest(l.statuses, func(s statusRange) bool { return s.has(q.status) }, func(s statusRange) int { return s.detail.width() }),
		code,
		narrowest(l.tags, func(tag string) bool { return tagged(q.tags, tag) }, func(tag string) int { return 1 + strings.Count(tag, "*") }),
		narrowest(l.texts, func(text string) bool { return strings.Contains(q.text, text) }, func(text string) int { return open - len(text) }),
		narrowest(l.phases, func(p health.Phase) bool { return p == q.phase }, func(health.Phase) int { return len(l.phases) }),
	}
	return r, !slices.Contains(r[:], misfit)
}

const misfit = -1

// narrowest is what the narrowest matching entry of a list leaves open, misfit
// if none matches.
func narrowest[T any](list []T, matches func(T) bool, width func(T) int) int {
	if len(list) == 0 {
		return open
	}
	least := misfit
	for _, entry := range list {
		if matches(entry) && (least == misfit || width(entry) < least) {
			least = width(entry)
		}
	}
	return least
}

func tagged(tags []string, want string) bool {
	prefix, family := strings.CutSuffix(want, "*")
	return slices.ContainsFunc(tags, func(tag string) bool {
		return strings.EqualFold(tag, want) || family && len(tag) >= len(prefix) && strings.EqualFold(tag[:len(prefix)], prefix)
	})
}
