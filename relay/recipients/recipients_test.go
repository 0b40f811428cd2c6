package recipients

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// one makes a Domains for corp.example, and its directory if it is to have one.
func one(t testing.TB, change func(*Domain)) *Domains {
	t.Helper()
	c := Domain{Name: "corp.example", Subaddress: "+"}
	change(&c)
	d, err := New(Options{Domains: []Domain{c}, Keep: keep(t)})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestNew(t *testing.T) {
	for name, c := range map[string]Domain{
		"no source \"gossip\"":           {Sources: []Source{"gossip"}},
		"there is nobody to call ahead":  {Sources: []Source{SourceCallAhead}},
		"no such file or directory":      {Sources: []Source{SourceList}, File: "/nowhere/list"},
		"recipients of corp.example: no": {Sources: []Source{""}},
	} {
		c.Name = "corp.example"
		if _, err := New(Options{Domains: []Domain{c}, Keep: keep(t)}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLook(t *testing.T) {
	d := one(t, func(*Domain) {})
	wantVerdicts(t, d, map[string]Verdict{"anybody@corp.example": Known, "anybody@elsewhere.example": Known})
	file := filepath.Join(t.TempDir(), "list")
	write(t, file, "a@corp.example\nTag+s@corp.example\n", time.Hour)
	d = one(t, func(c *Domain) { c.Sources, c.File, c.NotKnown = []Source{SourceList}, file, Reject })
	wantVerdicts(t, d, map[string]Verdict{"A@CORP.example": Known, "a+tag@corp.example": Known, "tag+s@corp.example": Known, "tag@corp.example": Unknown,
		"tag+s+t@corp.example": Known, "b@corp.example": Unknown, "PostMaster@corp.example": Known})
	if a := d.of["corp.example"].look(smtp.Path{Local: "a", Domain: "\xff"}, time.Now()); a.Verdict != Unknown || a.Policy != Reject {
		t.Errorf("no address: %+v", a)
	}
	d = one(t, func(c *Domain) { c.Sources, c.File, c.Subaddress = []Source{SourceList}, file, "" })
	wantVerdicts(t, d, map[string]Verdict{"a@corp.example": Known, "a+tag@corp.example": Unknown})
	d = one(t, func(c *Domain) { c.Sources, c.File, c.MaxAge = []Source{SourceList}, file, time.Minute })
	wantVerdicts(t, d, map[string]Verdict{"a@corp.example": Known, "b@corp.example": NotKnown})
}

func TestLearn(t *testing.T) {
	d := one(t, func(c *Domain) { c.Sources = []Source{SourceLearned} })
	tell := func(address string, exists bool) {
		d.Learn(Evidence{Path: path(t, address), At: time.Now(), Exists: exists})
	}
	tell("a@CORP.example", true)
	tell("b@corp.example", false)
	tell("postmaster@corp.example", false)
	tell("c@elsewhere.example", true)
	d.Learn(Evidence{Path: smtp.Path{Local: "a", Domain: "\xff"}})
	wantVerdicts(t, d, map[string]Verdict{"a@corp.example": Known, "b@corp.example": Unknown, "c@corp.example": NotKnown, "postmaster@corp.example": Known})
	if s := d.Sources(); len(s) != 1 || s[0].Count != 1 || s[0].At.IsZero() || s[0].Policy != Accept {
		t.Errorf("%+v", s)
	}
	if d := one(t, func(c *Domain) { c.Sources = []Source{SourceList} }); true { // it listens to nobody
		d.Learn(Evidence{Path: path(t, "a@corp.example"), Exists: true})
		wantVerdicts(t, d, map[string]Verdict{"a@corp.example": NotKnown})
	}
}

func TestCallAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		asked, silent := "", false
		d := one(t, func(c *Domain) {
			c.Sources, c.NotKnown = []Source{SourceCallAhead}, Defer
			c.CallAhead = CallAhead{AtOnce: 2, PerMinute: 6, Ask: func(ctx context.Context, p smtp.Path) (exists, ok bool) {
				mu.Lock()
				asked += p.Local + " "
				mu.Unlock()
				if p.Local == "slow" {
					<-ctx.Done()
				}
				return p.Local == "a", !silent && ctx.Err() == nil
			}}
		})
		for _, test := range []struct {
			local   string
			primary Primary
			want    Verdict
			source  Source
			asked   string
		}{
			{"a", Down, NotKnown, "", ""},
			{"a", Doubt, NotKnown, "", ""},
			{"a", Up, Known, SourceCallAhead, "a "},
			{"a", Up, Known, SourceLearned, "a "},
			{"A", Down, Known, SourceLearned, "a "},
			{"a+tag", Down, Known, SourceLearned, "a "},
			{"b", Up, Unknown, SourceCallAhead, "a b "},
			{"b", Down, Unknown, SourceLearned, "a b "},
			{"postmaster", Up, Known, "", "a b "},
			{"slow", Up, NotKnown, "", "a b slow "},
		} {
			a := d.Ask(t.Context(), "corp.example", path(t, test.local+"@corp.example"), test.primary)
			if a.Verdict != test.want || a.Source != test.source || asked != test.asked {
				t.Errorf("%s: %+v, asked %q", test.local, a, asked)
			}
		}
		// What deliveries tell is not asked for here.
		d.Learn(Evidence{Path: path(t, "c@corp.example"), Exists: true, At: time.Now()})
		wantVerdicts(t, d, map[string]Verdict{"c@corp.example": NotKnown})
		silent = true
		asked = ""
		for range 10 {
			d.Ask(t.Context(), "corp.example", path(t, "c@corp.example"), Up)
		}
		if asked != "c c c " { // "slow" took five seconds, in which half a question came back
			t.Errorf("more than six a minute: %q", asked)
		}
		time.Sleep(time.Hour)
		asked = ""
		for range 10 {
			d.Ask(t.Context(), "corp.example", path(t, "c@corp.example"), Up)
		}
		if asked != strings.Repeat("c ", 6) || d.Sources()[0].Asked != 12 {
			t.Errorf("after an hour: %q, %+v", asked, d.Sources())
		}
		time.Sleep(time.Hour)
		for range 3 {
			go d.Ask(t.Context(), "corp.example", path(t, "slow@corp.example"), Up)
		}
		synctest.Wait()
		if n := d.Sources()[0].Asked; n != 14 {
			t.Errorf("%d questions, more than two at once", n)
		}
		time.Sleep(5 * time.Second)
	})
}

func TestImport(t *testing.T) {
	d := one(t, func(c *Domain) { c.Sources = []Source{SourceList} })
	wantVerdicts(t, d, map[string]Verdict{"a@corp.example": NotKnown})
	if s := d.Sources()[0]; !s.Stale || !s.At.IsZero() {
		t.Errorf("before: %+v", s)
	}
	const text = "a@corp.example\nb@corp.example\nx@elsewhere.example\n"
	for _, dry := range []bool{true, false} {
		did, err := d.Import("corp.example", "list", text, dry)
		if err != nil || did != (Imported{Domain: "corp.example", Count: 2, Elsewhere: 1, Added: 2}) {
			t.Errorf("%+v, %v", did, err)
		}
		if a := d.Look("corp.example", path(t, "a@corp.example")); (a.Verdict == Known) == dry {
			t.Errorf("dry %v: %+v", dry, a)
		}
	}
	for text, want := range map[string]string{"nobody": "list:1:", "x@elsewhere.example\n": "there is no address of corp.example in it, but 1 of other domains"} {
		if _, err := d.Import("corp.example", "list", text, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := d.Import("lab.example", "list", text, true); !errors.Is(err, ErrUnknownDomain) {
		t.Errorf("another domain: %v", err)
	}
	if did, err := d.Import("corp.example", "list", "b@corp.example\nc@corp.example\n", false); err != nil || did.Added != 1 || did.Lost != 1 {
		t.Errorf("%+v, %v", did, err)
	}
	again, err := New(Options{Domains: []Domain{d.of["corp.example"].Domain}, Keep: d.options.Keep})
	if err != nil {
		t.Fatal(err)
	}
	wantVerdicts(t, again, map[string]Verdict{"a@corp.example": Unknown, "b@corp.example": Known, "c@corp.example": Known})
	if err := d.options.Keep.Close(); err != nil {
		t.Fatal(err)
	}
	var unkept *KeepError
	if _, err := d.Import("corp.example", "list", text, false); !errors.As(err, &unkept) || unkept.Unwrap() == nil {
		t.Errorf("a disk that fails: %v", err)
	}
	wantVerdicts(t, d, map[string]Verdict{"a@corp.example": Unknown, "b@corp.example": Known})
	if again, err := New(Options{Domains: []Domain{d.of["corp.example"].Domain}, Keep: d.options.Keep}); err != nil {
		t.Error(err)
	} else {
		wantVerdicts(t, again, map[string]Verdict{"b@corp.example": NotKnown})
	}
}

// TestSyncOfAList: it is read at once; with an import beside it both count, and
// they are as old as the older one.
func TestSyncOfAList(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list")
	write(t, file, "a@corp.example\n", 3*time.Hour)
	d := one(t, func(c *Domain) { c.Sources, c.File, c.MaxAge = []Source{SourceList}, file, 2*time.Hour })
	if s := d.Sources()[0]; !s.Stale || s.Count != 1 {
		t.Errorf("old: %+v", s)
	}
	if _, err := d.Import("corp.example", "list", "b@corp.example\n", false); err != nil {
		t.Fatal(err)
	}
	wantVerdicts(t, d, map[string]Verdict{"a@corp.example": Known, "b@corp.example": Known, "c@corp.example": NotKnown})
	write(t, file, "c@corp.example\n", time.Minute)
	all, err := d.Sync(t.Context(), "corp.example", false)
	if err != nil || len(all) != 1 || all[0] != (Synced{Domain: "corp.example", Count: 1}) {
		t.Errorf("%+v, %v", all, err)
	}
	wantVerdicts(t, d, map[string]Verdict{"a@corp.example": Unknown, "b@corp.example": Known, "c@corp.example": Known})
	if s := d.Sources()[0]; s.Stale || s.Count != 2 || time.Since(s.At) < time.Minute {
		t.Errorf("read: %+v", s)
	}
	write(t, file, "c@corp.example\n", -time.Hour) // newer than what was imported
	if _, err := d.Sync(t.Context(), "", false); err != nil || d.Sources()[0].At.After(time.Now()) {
		t.Errorf("%v, %+v", err, d.Sources())
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	all, err = d.Sync(t.Context(), "", false)
	if err != nil || len(all) != 1 || all[0].Err == nil {
		t.Errorf("gone: %+v, %v", all, err)
	}
	if s := d.Sources()[0]; s.Wrong == "" || s.Count != 2 {
		t.Errorf("gone: %+v", s)
	}
	if _, err := d.Sync(t.Context(), "lab.example", false); !errors.Is(err, ErrUnknownDomain) {
		t.Errorf("another domain: %v", err)
	}
	d = one(t, func(c *Domain) { c.Sources = []Source{SourceLearned} })
	if _, err := d.Sync(t.Context(), "corp.example", false); !errors.Is(err, ErrUnknownDomain) {
		t.Errorf("nothing to read: %v", err)
	}
}

// TestADirectoryOnABrokenDisk: what cannot be kept does not count.
func TestADirectoryOnABrokenDisk(t *testing.T) {
	g, client := inProcess(t, tenant())
	d := two(t, g, client)
	if err := d.options.Keep.Close(); err != nil {
		t.Fatal(err)
	}
	all, err := d.Sync(t.Context(), "", false)
	if err != nil || all[0].Err == nil || d.Look("corp.example", path(t, "a@corp.example")).Verdict != NotKnown {
		t.Errorf("%+v, %v", all, err)
	}
}
