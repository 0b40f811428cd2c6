package recipients

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
	"github.com/mxkeep/mxkeep/relay/state"
)

// Evidence is what a primary said about a recipient.
type Evidence struct {
	Path   smtp.Path
	At     time.Time
	Exists bool // it took the recipient; otherwise it refused it as unknown, at RCPT
	Firm   bool // it took a message for it, not only RCPT
}

// LearnedRules say how long evidence is believed, and how much is kept.
type LearnedRules struct {
	Keep    time.Duration // since the primary took the address last; default 90 days
	Refused time.Duration // since it refused it; default 1 hour
	Max     int           // addresses that exist, of one domain; default 100,000
}

func (r *LearnedRules) complete() {
	r.Keep = cmp.Or(r.Keep, 90*24*time.Hour)
	r.Refused = cmp.Or(r.Refused, time.Hour)
	r.Max = cmp.Or(r.Max, 100000)
}

const (
	maxRefused = 10000 // addresses of one domain
	sweepEvery = time.Minute
	writeAfter = 24 * time.Hour // by which what is on disk may be older
	ownerStem  = "recipients of "
)

// taken is an address that the primary took.
type taken struct {
	Seen    time.Time `json:"seen"` // last
	Firm    bool      `json:"firm,omitempty"`
	refused time.Time // first of the refusals since; zero if there was none
	written time.Time // Seen, as it is on disk
}

// learned is what the primary of a domain has said about its addresses.
//
// Outsiders choose which addresses are asked for, so they must not be able to do
// harm by that: one refusal only puts an address in doubt that the primary took
// before, it must still be refused after LearnedRules.Refused. Refusals are in
// memory only, and a bounded number; what is taken is bounded, too, and those
// for which no message was accepted go first. Tags of sub-addresses are not kept.
type learned struct {
	domain    string
	delimiter string
	rules     LearnedRules
	file      *state.File
	log       *slog.Logger

	mu      sync.Mutex
	taken   map[string]*taken
	refused map[string]time.Time
	dirty   map[string]bool // to be written, or deleted
	latest  time.Time       // evidence
	swept   time.Time       // when refusals were looked through last
}

// newLearned reads what is on disk. What cannot be read is forgotten.
func newLearned(domain, delimiter string, rules LearnedRules, file *state.File, log *slog.Logger, now time.Time) *learned {
	rules.complete()
	l := &learned{domain: domain, delimiter: delimiter, rules: rules, file: file, log: log,
		taken: map[string]*taken{}, refused: map[string]time.Time{}, dirty: map[string]bool{}}
	err := file.Each(ownerStem+domain, func(key string, value []byte) error {
		t := &taken{}
		if err := json.Unmarshal(value, t); err != nil || !strings.HasSuffix(key, "@"+domain) {
			l.dirty[key] = true
			return nil
		}
		t.written = t.Seen
		l.taken[key] = t
		if t.Seen.After(l.latest) {
			l.latest = t.Seen
		}
		return nil
	})
	if err != nil {
		log.Warn("recipients.forgotten", "domain", domain, "error", err)
	}
	l.prune(now)
	return l
}

// learn takes evidence about an address of the domain.
func (l *learned) learn(key string, e Evidence) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.At.After(l.latest) {
		l.latest = e.At
	}
	if e.Exists {
		delete(l.refused, key)
		l.exists(keysOf(key, l.delimiter), e)
		return
	}
	t := l.taken[key]
	switch {
	case t == nil:
	case e.At.Before(t.Seen):
		return
	case t.refused.IsZero():
		t.refused = e.At
		return
	case e.At.Sub(t.refused) < l.rules.Refused:
		return
	default:
		delete(l.taken, key)
		l.dirty[key] = true
	}
	if _, again := l.refused[key]; again || l.roomForRefusal(e.At) {
		l.refused[key] = e.At
	}
}

// exists keeps an address without its tag.
func (l *learned) exists(keys []string, e Evidence) {
	key := keys[len(keys)-1]
	if _, whole := l.taken[keys[0]]; whole { // a tag that was an address of its own before there was sub-addressing
		key = keys[0]
	}
	t := l.taken[key]
	if t == nil {
		t = &taken{}
		l.taken[key] = t
		l.dirty[key] = true
	}
	if e.At.After(t.Seen) {
		t.Seen = e.At
	}
	if e.Firm && !t.Firm || t.Seen.Sub(t.written) >= writeAfter {
		l.dirty[key] = true
	}
	t.Firm, t.refused = t.Firm || e.Firm, time.Time{}
	if len(l.taken) > l.rules.Max {
		l.pruneTaken(e.At)
	}
}

// roomForRefusal forgets refusals that are over if there are too many, and
// reports whether there is room for one more.
func (l *learned) roomForRefusal(now time.Time) bool {
	if len(l.refused) < maxRefused {
		return true
	}
	if now.Sub(l.swept) < sweepEvery { // it takes its time, and outsiders choose how often
		return false
	}
	l.swept = now
	for key, at := range l.refused {
		if now.Sub(at) >= l.rules.Refused {
			delete(l.refused, key)
		}
	}
	return len(l.refused) < maxRefused
}

// says is what is known about an address.
func (l *learned) says(key string, now time.Time) saying {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := saying{source: SourceLearned}
	if at, refused := l.refused[key]; refused && now.Sub(at) < l.rules.Refused {
		s.says, s.at = Unknown, at
		return s
	}
	for _, k := range keysOf(key, l.delimiter) {
		t := l.taken[k]
		if t == nil || now.Sub(t.Seen) >= l.rules.Keep {
			continue
		}
		s.at = t.Seen
		if !t.refused.IsZero() {
			s.at, s.doubt = t.refused, true
			return s
		}
		s.says = Known
		return s
	}
	return s
}

// prune forgets what is too old or too much.
func (l *learned) prune(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pruneTaken(now)
	l.roomForRefusal(now)
}

func (l *learned) pruneTaken(now time.Time) {
	for key, t := range l.taken {
		if now.Sub(t.Seen) >= l.rules.Keep {
			delete(l.taken, key)
			l.dirty[key] = true
		}
	}
	if len(l.taken) <= l.rules.Max {
		return
	}
	keys := make([]string, 0, len(l.taken))
	for key := range l.taken {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		x, y := l.taken[a], l.taken[b]
		if x.Firm != y.Firm {
			return map[bool]int{false: -1, true: 1}[x.Firm]
		}
		return cmp.Or(x.Seen.Compare(y.Seen), cmp.Compare(a, b))
	})
	for _, key := range keys[:len(keys)-l.rules.Max*9/10] { // a tenth more, so that it is not sorted each time
		delete(l.taken, key)
		l.dirty[key] = true
	}
}

// save writes what has changed. What was not written is tried again.
func (l *learned) save() {
	l.mu.Lock()
	put, remove := map[string]any{}, []string{}
	seen := map[string]time.Time{}
	for key := range l.dirty {
		if t := l.taken[key]; t != nil {
			put[key], seen[key] = *t, t.Seen
		} else {
			remove = append(remove, key)
		}
	}
	l.dirty = map[string]bool{}
	l.mu.Unlock()
	if len(put)+len(remove) == 0 {
		return
	}
	err := l.file.Change(ownerStem+l.domain, put, remove)
	if err != nil {
		l.log.Warn("recipients.unsaved", "domain", l.domain, "error", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range remove {
		l.dirty[key] = l.dirty[key] || err != nil
	}
	for key, at := range seen {
		if t := l.taken[key]; err == nil && t != nil {
			t.written = at
		}
		l.dirty[key] = l.dirty[key] || err != nil
	}
	for key, still := range l.dirty {
		if !still {
			delete(l.dirty, key)
		}
	}
}

// shown counts what is known, and says of when the last evidence is.
func (l *learned) shown(now time.Time) (count int, latest time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.taken {
		if now.Sub(t.Seen) < l.rules.Keep {
			count++
		}
	}
	return count, l.latest
}
