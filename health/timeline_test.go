package health_test

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/reply"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// timeline is a file of testdata/replay; its README explains the lines.
type timeline struct {
	name    string
	kinds   map[string]health.Signal
	acts    []act
	points  []point
	wants   []want
	verdict []string
}

// act is how the primary, or what is outside, acts for a time.
type act struct {
	from, to, every           time.Duration
	source                    health.Source
	mixes                     []mix // one for each address of a probe, or one
	domain, sourceIP, address string
}

type mix []portion

type portion struct {
	kind string
	part float64 // per cent
}

// point is one signal, or one round of probes.
type point struct {
	at     time.Duration
	source health.Source
	kinds  []string
}

// want is an expectation.
type want struct {
	kind, what, word string // the word of a scope
	from, to         time.Duration
	most             int
}

func read(t testing.TB, name string) *timeline {
	t.Helper()
	file, err := os.Open("testdata/replay/" + name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	l := &timeline{name: name, kinds: map[string]health.Signal{"ok": {Class: health.OK, Phase: health.PhaseRcpt, Reply: "250 2.1.5 OK"}}}
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if err := l.readLine(words); err != nil {
			t.Fatalf("%s, line %d: %v", name, n, err)
		}
	}
	return l
}

func (l *timeline) readLine(words []string) (err error) {
	defer func() { // a mistake in a file of ours
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	switch args := words[1:]; words[0] {
	case "reply":
		status, text, _ := smtp.ParseEnhancedStatus(strings.Join(args[3:], " "))
		code, _ := strconv.Atoi(args[2])
		phase := health.Phase(args[1])
		l.kinds[args[0]] = signal(phase, reply.Classify(phase, smtp.Reply{Code: code, Status: status, Lines: []string{text}}), strings.Join(args[2:], " "))
	case "fail":
		phase := health.Phase(args[1])
		s := signal(phase, reply.ClassifyError(phase, reply.Failure(args[2])), args[2])
		if args[2] == string(reply.TimedOut) {
			s.Took = 15 * time.Second
		}
		l.kinds[args[0]] = s
	case "during":
		l.acts = append(l.acts, l.act(args))
	case "at":
		l.points = append(l.points, point{span(args[0]), health.Source(args[1]), l.known(args[2:])})
	case "want":
		l.wants = append(l.wants, expectation(args))
	case "verdict":
		l.verdict = args
	default:
		return fmt.Errorf("unknown word %q", words[0])
	}
	return nil
}

func signal(phase health.Phase, v reply.Verdict, text string) health.Signal {
	return health.Signal{Phase: phase, Class: v.Class, Condition: v.Condition, Row: v.Row, Fix: v.Advice, Slow: v.Slow, Low: v.Low, Reply: text}
}

func (l *timeline) act(args []string) act {
	a := act{from: span(args[0]), to: span(args[1]), source: health.Source(args[2]), domain: "corp.example"}
	size := 0
	if a.source == health.SourceProbe {
		size, _ = strconv.Atoi(args[3])
		a.domain = ""
	} else {
		a.every = span(args[3])
	}
	for _, word := range args[4:] {
		switch name, value, _ := strings.Cut(word, "="); {
		case name == "domain":
			a.domain = value
		case name == "source":
			a.sourceIP = value
		case name == "address":
			a.address = value
		default:
			a.mixes = append(a.mixes, l.mix(word))
		}
	}
	for len(a.mixes) < size {
		a.mixes = append(a.mixes, a.mixes[0])
	}
	return a
}

func (l *timeline) mix(word string) mix {
	var m mix
	for _, item := range strings.Split(word, ",") {
		kind, part, found := strings.Cut(item, ":")
		p := portion{kind, 100}
		if found {
			var err error
			if p.part, err = strconv.ParseFloat(part, 64); err != nil {
				panic(err)
			}
		}
		l.known([]string{kind})
		m = append(m, p)
	}
	return m
}

func (l *timeline) known(kinds []string) []string {
	for _, k := range kinds {
		if _, ok := l.kinds[k]; !ok {
			panic("unknown kind " + k)
		}
	}
	return kinds
}

func expectation(args []string) want {
	w := want{kind: args[0]}
	switch w.kind {
	case "at-most":
		w.most, _ = strconv.Atoi(args[1])
		w.what = args[2]
	case "enters", "in", "active", "scope":
		w.what, w.from, w.to = args[1], span(args[2]), span(args[3])
		if w.kind == "scope" {
			w.word = args[4]
		}
	default:
		panic("unknown expectation " + w.kind)
	}
	return w
}

// span reads 1d2h3m4s.
func span(text string) time.Duration {
	if text == "0" {
		return 0
	}
	var days time.Duration
	if d, rest, found := strings.Cut(text, "d"); found {
		n, err := strconv.Atoi(d)
		if err != nil {
			panic(err)
		}
		days, text = time.Duration(n)*24*time.Hour, cmp.Or(rest, "0s")
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	return days + d
}

// ends is when nothing happens any more.
func (l *timeline) ends() time.Duration {
	end := time.Duration(0)
	for _, a := range l.acts {
		end = max(end, a.to)
	}
	for _, p := range l.points {
		end = max(end, p.at+time.Second)
	}
	return end
}

// names of all timelines.
func names(t testing.TB) []string {
	files, err := os.ReadDir("testdata/replay")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), ".txt"); ok {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}
