package recipients

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/relay/state"
)

var noon = time.Date(2026, 1, 22, 12, 0, 0, 0, time.UTC)

func keep(t testing.TB) *state.File {
	t.Helper()
	file, err := state.Open(filepath.Join(t.TempDir(), "state.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

func lesson(t testing.TB, rules LearnedRules) *learned {
	t.Helper()
	return newLearned("corp.example", "+", rules, keep(t), slog.New(slog.DiscardHandler), noon)
}

// tell lets the primary say something after a time.
func (l *learned) tell(address string, after time.Duration, exists bool) {
	l.learn(address+"@corp.example", Evidence{At: noon.Add(after), Exists: exists})
}

func TestLearned(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		rule  string
		told  string // "+1h" and "-2h": taken and refused, after so long
		after time.Duration
		want  string
	}{
		{"nothing", "", 0, "not known"},
		{"taken", "+0h", 0, "known"},
		{"taken long ago", "+0h", 90*day - 1, "known"},
		{"taken too long ago", "+0h", 90 * day, "not known"},
		{"taken again", "+0h +1000h", 100 * day, "known"},
		{"refused", "-0h", time.Hour - 1, "unknown"},
		{"refused an hour ago", "-0h", time.Hour, "not known"},
		{"refused, then taken", "-0h +1h", time.Hour, "known"},
		{"taken, then refused once", "+0h -10h", 10 * time.Hour, "not known, in doubt"},
		{"refused once, long ago", "+0h -10h", 40 * time.Hour, "not known, in doubt"},
		{"refused twice within the hour", "+0h -10h -10h59m", 11 * time.Hour, "not known, in doubt"},
		{"refused for an hour", "+0h -10h -11h", 11 * time.Hour, "unknown"},
		{"refused for an hour, some time ago", "+0h -10h -11h", 12 * time.Hour, "not known"},
		{"refused, taken, refused", "+0h -10h +10h30m -11h", 11 * time.Hour, "not known, in doubt"},
		{"a refusal that comes late", "+10h -9h", 10 * time.Hour, "known"},
	} {
		l := lesson(t, LearnedRules{})
		for _, word := range strings.Fields(test.told) {
			after, err := time.ParseDuration(word[1:])
			if err != nil {
				t.Fatal(err)
			}
			l.tell("a", after, word[0] == '+')
		}
		s := l.says("a@corp.example", noon.Add(test.after))
		got := s.says.String()
		if s.doubt {
			got += ", in doubt"
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.rule, got, test.want)
		}
	}
}

// TestTags: a tag is not kept, and a refused one says nothing of the others.
func TestTags(t *testing.T) {
	l := lesson(t, LearnedRules{})
	for i := range 100 {
		l.tell(fmt.Sprintf("a+%d", i), 0, true)
	}
	l.tell("b+bad", 0, false)
	if len(l.taken) != 1 || l.says("a@corp.example", noon).says != Known || l.says("a+new@corp.example", noon).says != Known {
		t.Errorf("%d addresses, a %v", len(l.taken), l.says("a@corp.example", noon))
	}
	if l.says("b@corp.example", noon).says != NotKnown || l.says("b+bad@corp.example", noon).says != Unknown {
		t.Error("a refused tag")
	}
	l.tell("a+bad", 0, false)
	if l.says("a+bad@corp.example", noon).says != Unknown || l.says("a@corp.example", noon).says != Known {
		t.Error("a refused tag of an address that was taken")
	}
	l.taken["old+whole@corp.example"] = &taken{Seen: noon}
	l.tell("old+whole", time.Hour, true)
	if len(l.taken) != 2 || !l.taken["old+whole@corp.example"].Seen.Equal(noon.Add(time.Hour)) {
		t.Errorf("an address with a sign of a tag: %v", l.taken)
	}
}

// TestLearnedIsBounded: outsiders choose the addresses, and must not push out
// those for which mail was taken, nor fill memory or disk.
func TestLearnedIsBounded(t *testing.T) {
	l := lesson(t, LearnedRules{Max: 1000})
	for i := range 500 {
		l.learn(fmt.Sprintf("honest%d@corp.example", i), Evidence{At: noon, Exists: true, Firm: true})
	}
	for i := range 20000 {
		l.tell(fmt.Sprintf("guess%d", i), time.Minute, true)
		l.tell(fmt.Sprintf("wrong%d", i), time.Minute, false)
	}
	if len(l.taken) > 1000 || len(l.refused) != maxRefused {
		t.Errorf("%d taken, %d refused", len(l.taken), len(l.refused))
	}
	for i := range 500 {
		if l.says(fmt.Sprintf("honest%d@corp.example", i), noon).says != Known {
			t.Fatalf("honest%d was pushed out", i)
		}
	}
	l.tell("wrong0", 59*time.Minute, false) // again
	l.tell("fresh", time.Hour+time.Minute, false)
	if len(l.refused) != 2 || l.says("fresh@corp.example", noon.Add(time.Hour+time.Minute)).says != Unknown {
		t.Errorf("%d refused after an hour", len(l.refused))
	}
	l.save()
	rows := 0
	if err := l.file.Each(ownerStem+"corp.example", func(string, []byte) error { rows++; return nil }); err != nil || rows > 1000 {
		t.Errorf("%d on disk, %v", rows, err)
	}
	l.prune(noon.Add(91 * 24 * time.Hour))
	if count, _ := l.shown(noon); count != 0 || len(l.refused) != 2 { // they are forgotten when there are too many
		t.Errorf("%d taken, %d refused after three months", count, len(l.refused))
	}
}

func TestLearnedIsOnDisk(t *testing.T) {
	file := keep(t)
	open := func(at time.Time) *learned {
		return newLearned("corp.example", "+", LearnedRules{}, file, slog.New(slog.DiscardHandler), at)
	}
	written := func() (keys string) {
		if err := file.Each(ownerStem+"corp.example", func(key string, value []byte) error { keys += key + string(value) + " "; return nil }); err != nil {
			t.Fatal(err)
		}
		return keys
	}
	l := open(noon)
	l.tell("a", 0, true)
	l.tell("b", 0, true)
	l.tell("gone", 0, false)
	l.save()
	if got := written(); got != `a@corp.example{"seen":"2026-01-22T12:00:00Z"} b@corp.example{"seen":"2026-01-22T12:00:00Z"} ` {
		t.Errorf("on disk: %s", got)
	}
	before := written()
	l.tell("a", time.Hour, true) // not worth to be written
	l.save()
	if written() != before {
		t.Errorf("on disk: %s", written())
	}
	l.learn("a@corp.example", Evidence{At: noon.Add(2 * time.Hour), Exists: true, Firm: true})
	l.tell("b", 25*time.Hour, true)
	l.save()
	if got := written(); got != `a@corp.example{"seen":"2026-01-22T14:00:00Z","firm":true} b@corp.example{"seen":"2026-01-23T13:00:00Z"} ` {
		t.Errorf("on disk: %s", got)
	}
	l.tell("b", 26*time.Hour, false)
	l.tell("b", 28*time.Hour, false)
	l.save()
	again := open(noon.Add(30 * time.Hour))
	if count, latest := again.shown(noon.Add(30 * time.Hour)); count != 1 || !latest.Equal(noon.Add(2*time.Hour)) || again.says("a@corp.example", noon.Add(30*time.Hour)).says != Known {
		t.Errorf("%d after a restart, the latest of %v", count, latest)
	}
	if err := file.Put(ownerStem+"corp.example", "x@elsewhere.example", 1); err != nil {
		t.Fatal(err)
	}
	if err := file.Put(ownerStem+"corp.example", "x@corp.example", 1); err != nil {
		t.Fatal(err)
	}
	late := open(noon.Add(100 * 24 * time.Hour)) // all are too old, or no records
	late.save()
	if written() != "" {
		t.Errorf("on disk: %s", written())
	}
}

// TestADiskThatFails: what was learned counts all the same, and is written later.
func TestADiskThatFails(t *testing.T) {
	file := keep(t)
	l := newLearned("corp.example", "+", LearnedRules{}, file, slog.New(slog.DiscardHandler), noon)
	l.tell("a", 0, true)
	l.tell("b", 0, true)
	l.tell("b", time.Hour, false)
	l.tell("b", 3*time.Hour, false)
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	l.save()
	if !l.dirty["a@corp.example"] || !l.dirty["b@corp.example"] || l.says("a@corp.example", noon).says != Known {
		t.Errorf("to be written: %v", l.dirty)
	}
	if l := newLearned("corp.example", "+", LearnedRules{}, file, slog.New(slog.DiscardHandler), noon); len(l.taken) != 0 {
		t.Error("read from a closed file")
	}
}
