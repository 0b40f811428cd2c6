package health_test

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

// variation is how a timeline is changed.
type variation struct {
	name  string
	shift time.Duration // of everything; mail comes by a third of a second later as well
	keep  float64       // the share of signals and rounds that are met
	noise float64       // the share of signals that say the contrary
	cut   time.Duration // what comes later is left out
}

// variations are all of them; long timelines are whole only with MXKEEP_SOAK=1.
func variations() []variation {
	cut := 6 * 24 * time.Hour
	if soak() {
		cut = 365 * 24 * time.Hour
	}
	return []variation{
		{"as it is", 0, 1, 0, cut},
		{"shifted", 13*24*time.Hour + 5*time.Hour + 7*time.Second + 123*time.Millisecond, 1, 0, cut},
		{"thinned", 0, 0.1, 0, cut},
		{"noisy", 0, 1, 0.05, cut},
	}
}

func soak() bool { return os.Getenv("MXKEEP_SOAK") == "1" }

var epoch = time.Date(2026, 1, 22, 19, 30, 0, 0, time.UTC)

// replay is one run of a timeline. The prober and the dispatcher do in it what
// they do in the relay: probe sooner after a bad round, and deliver nothing
// while the primary is down or deliveries wait.
type replay struct {
	*timeline
	variation
	random *rand.Rand
	rules  health.Rules
	status health.Status
	window health.Window
	serial int // of signals
	noted  [4]health.Condition
	trace  []look
}

// look is what was thought from a time on.
type look struct {
	at         time.Duration
	state      health.State
	conditions map[string]health.Condition
	why        string
}

func play(l *timeline, v variation) *replay {
	hash := fnv.New64a()
	hash.Write([]byte(l.name + v.name))
	r := &replay{timeline: l, variation: v, rules: health.DefaultRules(), random: rand.New(rand.NewPCG(hash.Sum64(), 1))}
	next := make([]time.Duration, len(l.acts)) // of what is not probes
	for i, a := range l.acts {
		next[i] = a.from
		if a.source != health.SourceProbe {
			next[i] += v.shift % (time.Second / 3)
		}
	}
	points, probes := l.points, time.Duration(0)
	for now, end := time.Duration(0), min(l.ends(), v.cut); now < end; {
		first := -1
		now = max(probes, 0)
		for i, a := range l.acts {
			if a.source != health.SourceProbe && next[i] < min(now, a.to) {
				first, now = i, next[i]
			}
		}
		switch {
		case len(points) > 0 && points[0].at <= now:
			r.point(points[0])
			points = points[1:]
		case first >= 0:
			r.mail(now, l.acts[first])
			next[first] += l.acts[first].every
		default:
			probes = r.round(now)
		}
	}
	return r
}

// mail is one signal of what is not a probe.
func (r *replay) mail(at time.Duration, a act) {
	now := epoch.Add(at + r.shift)
	stopped := r.status.State == health.Down || r.rules.At(r.status, now).Waits(now)
	if delivers := a.source == health.SourceAttempt || a.source == health.SourcePassage; delivers && stopped {
		return
	}
	kind := r.draw(a.mixes[0])
	s := r.kinds[kind]
	s.Source, s.Domain, s.SourceIP, s.Address = a.source, a.domain, a.sourceIP, a.address
	switch {
	case a.source == health.SourceSender:
		s = health.Signal{Source: a.source, Address: fmt.Sprintf("198.51.%d.0/24", r.serial%200)}
	case s.Phase == health.PhaseResolve:
		s.Domain = ""
	case a.address == "":
		s.Address = address(r.serial % 2)
	}
	if s.Class == health.OK {
		s.Phase = health.PhaseFinal
	}
	r.serial++
	s.Session = fmt.Sprint(r.serial)
	r.feed(at, s)
}

func address(i int) string { return fmt.Sprintf("192.0.2.%d:25", 101+i) }

// round is one round of probes; it says when the next one begins.
func (r *replay) round(at time.Duration) time.Duration {
	i := slices.IndexFunc(r.acts, func(a act) bool { return a.source == health.SourceProbe && a.from <= at && at < a.to })
	if i < 0 {
		return r.after(at, at)
	}
	a := r.acts[i]
	var kinds []string
	for _, m := range a.mixes {
		kinds = append(kinds, r.draw(m))
	}
	ended := r.probes(at, kinds, a.sourceIP)
	return r.after(at, ended)
}

// after is when the round begins after one of then that ended at a time.
func (r *replay) after(then, ended time.Duration) time.Duration {
	every := 20 * time.Second
	if r.status.BadRounds > 0 || r.status.State == health.Down {
		every = 10 * time.Second
	}
	return max(then+every, ended)
}

// probes are the signals of one round. A name that is not found has no addresses.
func (r *replay) probes(at time.Duration, kinds []string, sourceIP string) (ended time.Duration) {
	if r.kinds[kinds[0]].Phase == health.PhaseResolve {
		kinds = kinds[:1]
	}
	var signals []health.Signal
	took := time.Duration(0)
	r.serial++
	for i, kind := range kinds {
		s := r.kinds[kind]
		s.Source, s.SourceIP, s.Round, s.Last = health.SourceProbe, sourceIP, uint64(r.serial), i == len(kinds)-1
		if s.Phase != health.PhaseResolve {
			s.Address = address(i)
		}
		signals = append(signals, s)
		took = max(took, s.Took)
	}
	if r.random.Float64() >= r.keep {
		return at + took
	}
	for _, s := range signals {
		r.feed(at+took, s)
	}
	return at + took
}

func (r *replay) point(p point) {
	if p.source == health.SourceProbe {
		r.probes(p.at, p.kinds, "")
		return
	}
	for _, kind := range p.kinds {
		r.mail(p.at, act{source: p.source, mixes: []mix{{{kind, 100}}}, domain: "corp.example"})
	}
}

func (r *replay) draw(m mix) string {
	at := r.random.Float64() * 100
	for _, p := range m {
		if at -= p.part; at < 0 {
			return p.kind
		}
	}
	return m[len(m)-1].kind
}

// contrary is what noise makes of a signal.
func contrary(s health.Signal) health.Signal {
	class, phase, reply := health.OK, health.PhaseRcpt, "250 2.1.5 OK"
	if s.Class == health.OK {
		class, reply = health.Outage, "451 4.3.2 Temporary server error. Please try again later"
	}
	s.Class, s.Phase, s.Reply, s.Condition, s.Low, s.Row, s.Fix, s.Slow = class, phase, reply, "", false, 0, "", 0
	if s.Address == "" && s.Source != health.SourceControl {
		s.Address = address(0)
	}
	return s
}

func (r *replay) feed(at time.Duration, s health.Signal) {
	if s.Source != health.SourceProbe && r.random.Float64() >= r.keep {
		return
	}
	if r.noise > 0 && s.Source != health.SourceSender && r.random.Float64() < r.noise {
		s = contrary(s)
	}
	s.At = epoch.Add(at + r.shift)
	r.window = r.window.Add(s, r.rules.Span)
	r.status = r.rules.Next(r.status, r.window, s)
	r.note(at)
}

// note adds to the trace if something has changed.
func (r *replay) note(at time.Duration) {
	s := r.status
	is := [4]health.Condition{s.Throttled, s.Misconfigured, s.Recipients, s.Network}
	if len(r.trace) > 0 && r.trace[len(r.trace)-1].state == s.State && same(r.noted, is) {
		return
	}
	r.noted = is
	all := map[string]health.Condition{}
	for i, c := range is {
		if c.Active() {
			all[[...]string{"throttled", "misconfigured", "recipients", "network"}[i]] = c
		}
	}
	r.trace = append(r.trace, look{at, s.State, all, s.Why})
}

func same(a, b [4]health.Condition) bool {
	for i := range a {
		if a[i].Active() != b[i].Active() || a[i].Scope != b[i].Scope || a[i].Stops != b[i].Stops {
			return false
		}
	}
	return true
}

// during are the looks of a time, beginning with what stood when it began.
func (r *replay) during(from, to time.Duration) []look {
	var all []look
	for i, l := range r.trace {
		if l.at < to && (i+1 == len(r.trace) || r.trace[i+1].at > from) {
			all = append(all, l)
		}
	}
	return all
}

func (l look) String() string {
	var words []string
	for name, c := range l.conditions {
		words = append(words, strings.TrimSpace(name+" "+c.Scope.String()))
	}
	slices.Sort(words)
	return fmt.Sprintf("%v %v %v (%s)", l.at, l.state, words, l.why)
}

// entries are the looks that begin a state.
func (r *replay) entries(state string) []look {
	var all []look
	for i, l := range r.trace {
		if l.state.String() == state && (i == 0 || r.trace[i-1].state != l.state) {
			all = append(all, l)
		}
	}
	return all
}

// fails says how an expectation is not met; "" if it is.
func (w want) fails(r *replay) string {
	switch entries := r.entries(w.what); w.kind {
	case "at-most":
		if len(entries) > w.most {
			return fmt.Sprintf("%d times, the last %v", len(entries), entries[len(entries)-1])
		}
		return ""
	case "enters":
		entries = slices.DeleteFunc(entries, func(l look) bool { return l.at < w.from })
		if len(entries) == 0 || entries[0].at > w.to {
			return fmt.Sprint(entries[:min(1, len(entries))])
		}
		return ""
	}
	for _, l := range r.during(w.from, w.to) {
		c, active := l.conditions[w.what]
		switch {
		case w.kind == "in" && !slices.Contains(strings.Split(w.what, ","), l.state.String()),
			w.kind == "active" && !active,
			w.kind == "scope" && (!active || word(c.Scope) != w.word):
			return l.String()
		}
	}
	return ""
}

func word(s health.Scope) string {
	switch {
	case s.Domain != "":
		return "domain"
	case s.SourceIP != "":
		return "source"
	case s.Address != "":
		return "address"
	}
	return "all"
}

// verdictFails says how the verdict differs; "" if it does not.
func (r *replay) verdictFails() string {
	met := map[string]bool{"standing": len(r.entries("down")) == 0, "down": len(r.entries("down")) > 0}
	for _, l := range r.trace {
		for name := range l.conditions {
			met[name] = true
		}
	}
	var wrong []string
	for _, v := range r.verdict {
		name, optional := strings.CutSuffix(v, "?")
		if !met[name] && !optional {
			wrong = append(wrong, "not "+name)
		}
		delete(met, name)
	}
	for name, is := range met {
		if is && name != "standing" {
			wrong = append(wrong, name)
		}
	}
	slices.Sort(wrong)
	return strings.Join(wrong, ", ")
}

// long timelines are only thinned, unless MXKEEP_SOAK=1.
const long = 3 * 24 * time.Hour

// The verdict must not hang on the dice. What is declared within a minute is now
// and then declared wrongly where half of everything fails.
func TestReplayOtherDice(t *testing.T) {
	if !soak() {
		return
	}
	for _, name := range names(t) {
		l := read(t, name)
		if l.ends() > long {
			continue
		}
		const throws = 40
		wrong := 0
		for n := range throws {
			v := variations()[0]
			v.name = fmt.Sprint("dice ", n)
			if got := play(l, v).verdictFails(); got != "" {
				wrong++
				t.Logf("%s, %s: verdict %s", name, v.name, got)
			}
		}
		if wrong > throws/20 {
			t.Errorf("%s: %d of %d verdicts are wrong", name, wrong, throws)
		}
	}
}

func TestReplay(t *testing.T) {
	for _, name := range names(t) {
		t.Run(name, func(t *testing.T) {
			l := read(t, name)
			for i, v := range variations() {
				if v.keep == 1 && i > 0 && l.ends() > long && !soak() {
					continue
				}
				r := play(l, v)
				for _, w := range l.wants {
					if got := w.fails(r); i == 0 && got != "" {
						t.Errorf("want %+v: %s", w, got)
					}
				}
				if got := r.verdictFails(); got != "" {
					t.Errorf("%s: verdict %s", v.name, got)
				}
				t.Logf("%s: down %d times, up %d, degraded %d", v.name, len(r.entries("down")), len(r.entries("up")), len(r.entries("degraded")))
			}
		})
	}
}
